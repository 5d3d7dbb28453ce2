"""Measures a few features of a photo: size, brightness, contrast, colour, and its colonies.

Here: measuring one photo, and many in threads. Not here: comparing photos (`likeness`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.image_paths import find_image_file
from agar_pipeline.photos.load_and_resize import read_photo, resize
from agar_pipeline.progress import Progress

SMALL_SIDE_PX = 160
"""Longer side at which photos are measured; a JPEG of 2,048 px is decoded at an eighth of its size for it."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_THREADS = 4
T = TypeVar("T")


@dataclass(frozen=True)
class PixelFeatures:
    """Features of the pixels of a photo; no detector is needed."""

    brightness: float
    """Mean of the luma, 0 to 255."""
    contrast: float
    """Standard deviation of the luma, 0 to 128."""
    colourfulness: float
    """Mean of the largest minus the smallest of red, green and blue, 0 to 255."""


@dataclass(frozen=True)
class PhotoFeatures:
    """One photo with its detections."""

    side_px: float
    """Longer side of the photo."""
    count: float
    """Number of colonies."""
    colony_px: float | None
    """Median √(width · height) of the colonies, pixels of the photo; None without a colony."""
    pixels: PixelFeatures | None = None
    """None if the pixels were not read."""

    def values(self) -> dict[str, float]:
        """Name of each feature that is known → value."""
        found: dict[str, float] = {"side_px": self.side_px, "count": self.count}
        if self.colony_px is not None:
            found |= {"colony_px": self.colony_px, "colony_share": self.colony_px / self.side_px}
        return found | (vars(self.pixels) if self.pixels else {})


def measure_photo(
    size_wh: tuple[int, int], boxes_xywh: np.ndarray, pixels: PixelFeatures | None = None
) -> PhotoFeatures:
    """The features of a photo of `size_wh` pixels with (N, 4) boxes in the same pixels."""
    sides = np.sqrt(np.maximum(boxes_xywh[:, 2] * boxes_xywh[:, 3], 0))
    sides = sides[sides > 0]  # a box without an area, or NaN, says nothing about the size of colonies
    return PhotoFeatures(float(max(size_wh)), len(boxes_xywh), float(np.median(sides)) if len(sides) else None, pixels)


def small_copy(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 with a longer side of `SMALL_SIDE_PX`, at which photos of all scales are compared."""
    height, width = pixels.shape[:2]
    scale = SMALL_SIDE_PX / max(height, width)
    return resize(pixels, (max(1, round(width * scale)), max(1, round(height * scale))))


def measure_pixels(pixels: np.ndarray) -> PixelFeatures:
    """Measure (H, W, 3) uint8 pixels of any scale."""
    small = small_copy(pixels).astype(np.float32)
    luma = np.einsum("hwc,c->hw", small, _LUMA)  # not `@`: it starts the threads of BLAS
    colour = small.max(axis=2) - small.min(axis=2)
    return PixelFeatures(float(luma.mean()), float(luma.std()), float(colour.mean()))


def sample_rows(count: int, most: int) -> np.ndarray:
    """Ascending rows of at most `most` of `count` photos, always the same ones."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def measure_files(
    measure: Callable[[np.ndarray], T], images_dir: Path, file_names: Sequence[str], progress: Progress
) -> list[T | None]:
    """Apply `measure` to the small pixels of each photo, in threads; None for a photo that cannot be read."""

    def one(file_name: str) -> T | None:
        path = find_image_file(images_dir, file_name).path
        if path is None:
            return None
        try:
            return measure(read_photo(path, SMALL_SIDE_PX).pixels)
        except ImageFileError:
            return None

    found: list[T | None] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for result in pool.map(one, file_names):
            found.append(result)
            progress(len(found), len(file_names))
    return found
