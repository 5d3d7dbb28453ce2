"""Reads from a photo's header how its EXIF data says it is to be rotated for display, and rotates its pixels so.

After the snapshot, all sizes and boxes are those of the photo as displayed. Not here: rotating boxes (`box_formats`).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

TAG = 0x0112
QUARTER_TURNS = frozenset({5, 6, 7, 8})


def read_orientation(photo: Image.Image) -> int:
    """Return the EXIF orientation, 1…8 (1: upright), of a photo opened with PIL before its pixels are loaded."""
    if photo.format == "PNG" and "exif" not in photo.info:
        # PIL would decode the whole photo to look for EXIF data after the pixels, where cameras do not write it
        return 1
    try:
        orientation = photo.getexif().get(TAG, 1)
    except Exception:  # noqa: BLE001 - PIL raises any type for damaged EXIF data; viewers then show the photo as stored
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def left_to_turn(photo: Image.Image) -> int:
    """Return the orientation that is left to apply after PIL has loaded the pixels: PIL itself rotates a TIFF."""
    return 1 if photo.format == "TIFF" else read_orientation(photo)


def displayed_wh(photo: Image.Image) -> tuple[int, int]:
    return photo.size[::-1] if left_to_turn(photo) in QUARTER_TURNS else photo.size


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror (H, W, 3) stored pixels to how they are displayed.

    >>> orient(np.zeros((100, 200, 3), np.uint8), 6).shape
    (200, 100, 3)
    """
    if orientation in QUARTER_TURNS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
