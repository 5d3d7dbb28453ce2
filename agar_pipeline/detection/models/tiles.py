"""Positions of crops in training, and of the tiles into which a plate is divided in prediction.

Here: geometry on plain arrays. Not here: decoding (`dataset`), merging the detections of tiles (`tile_merge`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def count_crops(sizes_wh: np.ndarray, tile: int, image_side: int | None = None) -> np.ndarray:
    """(N, 2) sizes of photos → (N,) crops per epoch: the area at `image_side`, divided by the area of a tile, at least
    1.

    >>> count_crops(np.array([[640, 480], [100, 100]]), 320).tolist()
    [3, 1]
    """
    shown_wh = scaled_sizes(sizes_wh, image_side)
    return np.maximum(1, np.round(np.prod(shown_wh / tile, axis=1))).astype(np.int64)


def scaled_sizes(sizes_wh: np.ndarray, image_side: int | None) -> np.ndarray:
    """(N, 2) sizes of photos, scaled so that the longer side is `image_side`; None: unchanged."""
    if image_side is None or not len(sizes_wh):
        return sizes_wh
    return np.asarray(sizes_wh * (image_side / sizes_wh.max(axis=1, keepdims=True)))


def choose_crop(
    size_wh: tuple[int, int], side: int, boxes_xyxy: np.ndarray, empty: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Choose a random window to train on.

    Args:
        side: Side of the window; along an axis on which the image is shorter, the window is as long as the image.
        boxes_xyxy: (N, 4) on the image.
        empty: Share of the windows at any position; each of the others contains the middle of some box.

    Returns:
        Left, top, right, bottom, inside the image.
    """
    anywhere = rng.random() < empty or not len(boxes_xyxy)
    picks, offsets = rng.random(), rng.random(2)
    room = np.maximum(0, np.array(size_wh) - side)
    low, high = np.zeros(2), room.astype(float)
    if not anywhere:
        x1, y1, x2, y2 = boxes_xyxy[int(picks * len(boxes_xyxy))]
        middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        reach = np.minimum(np.array([x2 - x1, y2 - y1]), side) / 2  # the window contains the whole box if it fits
        low, high = np.clip(middle + reach - side, 0, room), np.clip(middle - reach, 0, room)
    left, top = np.clip(np.round(low + offsets * (high - low)), 0, room).astype(int)
    return int(left), int(top), int(min(left + side, size_wh[0])), int(min(top + side, size_wh[1]))


@dataclass(frozen=True)
class TileGrid:
    """T tiles over one plate, evenly spread, in row order."""

    tiles_xyxy: np.ndarray
    """(T, 4) int64, inside the plate."""
    cores_xyxy: np.ndarray
    """(T, 4) float64. Cores do not overlap and together cover the plate; the outermost reach to infinity."""
    overlap: int
    size_wh: tuple[int, int]

    @classmethod
    def over(cls, size_wh: tuple[int, int], side: int, overlap: int) -> TileGrid:
        """Neighbours overlap by at least `overlap` pixels; along an axis on which the plate is shorter than a tile
        there is one tile.

        >>> TileGrid.over((100, 60), side=64, overlap=16).tiles_xyxy.tolist()
        [[0, 0, 64, 60], [36, 0, 100, 60]]
        """
        (x_tiles, x_cores), (y_tiles, y_cores) = (_divide(length, side, overlap) for length in size_wh)
        pairs = [(x, y) for y in range(len(y_tiles)) for x in range(len(x_tiles))]
        columns, rows = (np.array(index) for index in zip(*pairs, strict=True))
        tiles = np.stack([x_tiles[columns, 0], y_tiles[rows, 0], x_tiles[columns, 1], y_tiles[rows, 1]], axis=1)
        cores = np.stack([x_cores[columns, 0], y_cores[rows, 0], x_cores[columns, 1], y_cores[rows, 1]], axis=1)
        return cls(tiles, cores, overlap, size_wh)

    def near_core(self, centres: np.ndarray, tile: int, margin: float) -> np.ndarray:
        """(D, 2) → (D,) whether a point is in a tile's core or at most `margin` pixels from it along each axis."""
        low, high = self.cores_xyxy[tile, :2] - margin, self.cores_xyxy[tile, 2:] + margin
        return np.asarray(((centres >= low) & (centres < high)).all(axis=1))

    def neighbours(self, margin: float) -> list[tuple[int, int]]:
        """Pairs of tiles whose cores, extended by `margin` pixels, overlap; each pair once."""
        low, high = self.cores_xyxy[:, :2] - margin, self.cores_xyxy[:, 2:] + margin
        meet = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(axis=2)
        return [(int(a), int(b)) for a, b in np.argwhere(np.triu(meet, 1))]


def _divide(length: int, side: int, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles and cores along one axis, (n, 2) each."""
    count = 1 if length <= side else -(-(length - overlap) // (side - overlap))
    starts = np.round(np.linspace(0, max(0, length - side), count)).astype(np.int64)
    ends = np.minimum(starts + side, length)
    middles = (starts[1:] + ends[:-1]) / 2
    cores = np.stack([np.concatenate([[-np.inf], middles]), np.concatenate([middles, [np.inf]])], axis=1)
    return np.stack([starts, ends], axis=1), cores
