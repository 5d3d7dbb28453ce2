"""Compares thumbnails of photos with similar hashes pixel by pixel, after scaling them to the same contrast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agar_pipeline.splitting.picture_hashes import LOOK_SIDE_PX, Picture, look_at, shrink


def compare_looks(
    paths: Sequence[Path], pictures: Sequence[Picture], pairs: np.ndarray, difference: float
) -> tuple[np.ndarray, np.ndarray]:
    """Determine for each pair whether its thumbnails look alike, and whether the photos may be identical.

    The thumbnails have the size of the smaller photo's, because a copy with fewer pixels has lost the finest detail.

    Args:
        paths: (N,) paths of the photos; a photo is opened again if it is compared with a smaller one.
        pictures: (N,) hashes and thumbnails of the photos.
        pairs: (P, 2) rows.
        difference: Largest difference at any pixel, in standard deviations of the photo's brightness.

    Returns:
        (P,) bool: alike, and (P,) bool: possibly identical; both are False if a photo cannot be decoded.
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
    """Return the thumbnail as (side, side) float32 with zero mean and unit variance, averaged over 3×3 pixels."""
    small = picture.pixels
    if picture.side_px != side_px:
        gray = look_at(path, LOOK_SIDE_PX)
        small = bytes(side_px * side_px) if gray is None else shrink(gray, side_px)
    pixels = np.frombuffer(small, dtype=np.uint8).reshape(side_px, side_px).astype(np.float32)
    padded = np.pad((pixels - pixels.mean()) / np.sqrt(pixels.var() + 1), 1, mode="edge")
    shifted = [padded[i : i + side_px, j : j + side_px] for i in range(3) for j in range(3)]
    return np.sum(shifted, axis=0) / 9
