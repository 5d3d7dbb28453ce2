"""Whether photos that hash alike look alike at every place, by thumbnails that are scaled to the same contrast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agar_pipeline.splitting.picture_hashes import LOOK_SIDE_PX, Picture, look_at, shrink


def compare_looks(
    paths: Sequence[Path], pictures: Sequence[Picture], pairs: np.ndarray, difference: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of each pair: whether its photos differ nowhere by more than `difference`, and whether they may be the same.

    The thumbnail's side follows the smaller photo: of a copy with half as many pixels the finest detail is gone.

    Args:
        paths: (N,) the photos; opened again where one is compared with a smaller one.
        pictures: (N,) what was seen of them.
        pairs: (P, 2) rows.
        difference: In standard deviations of the photo's brightness.

    Returns:
        (P,) and (P,) bool; photos that cannot be decoded are like nothing.
    """
    thumbs: dict[tuple[int, int], np.ndarray] = {}
    alike, same = np.zeros(len(pairs), dtype=bool), np.zeros(len(pairs), dtype=bool)
    for place, (one, two) in enumerate(pairs.tolist()):
        side_px = min(pictures[one].side_px, pictures[two].side_px)
        if not side_px:
            continue
        for row in (one, two):
            if (row, side_px) not in thumbs:
                thumbs[row, side_px] = _thumb(paths[row], pictures[row], side_px)
        same[place] = pictures[one].content == pictures[two].content
        alike[place] = same[place] or np.abs(thumbs[one, side_px] - thumbs[two, side_px]).max() <= difference
    return alike, same


def _thumb(path: Path, picture: Picture, side_px: int) -> np.ndarray:
    """(side, side) float32, zero mean, unit variance, blurred by 3×3."""
    small = picture.pixels
    if picture.side_px != side_px:
        gray = look_at(path, LOOK_SIDE_PX)
        small = bytes(side_px * side_px) if gray is None else shrink(gray, side_px)
    pixels = np.frombuffer(small, dtype=np.uint8).reshape(side_px, side_px).astype(np.float32)
    padded = np.pad((pixels - pixels.mean()) / np.sqrt(pixels.var() + 1), 1, mode="edge")
    shifted = [padded[i : i + side_px, j : j + side_px] for i in range(3) for j in range(3)]
    return np.sum(shifted, axis=0) / 9
