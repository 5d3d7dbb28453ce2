"""Makes a smaller, upright JPEG of a photo; photos are never enlarged.

The photo is decoded at the smallest sufficient DCT scale and resized with antialiasing. Not here: encoding the JPEG
(`jpeg_copy`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.exif_orientation import QUARTER_TURNS, displayed_wh, left_to_turn, orient
from agar_pipeline.photos.jpeg_copy import QUALITY, SUBSAMPLING, encode_copy
from agar_pipeline.photos.load_and_resize import decode, image_errors, open_checked

RECIPE = f"jpeg-{QUALITY}-{SUBSAMPLING}-2"
"""Name of the method; its last number is raised whenever the method would give other bytes."""
UPRIGHT = 1
"""EXIF orientation of an upright photo."""


def shrunk_sizes(sizes_wh: np.ndarray, max_side: int) -> np.ndarray:
    """Return (N, 2) int64 sizes reduced to a longer side of at most `max_side`; smaller sizes are unchanged.

    >>> shrunk_sizes(np.array([[4000, 3000], [640, 480]]), 1024)
    array([[1024,  768],
           [ 640,  480]])
    """
    scale = np.minimum(1.0, max_side / np.maximum(sizes_wh.max(axis=1, initial=1), 1))[:, None]
    return np.maximum(1, np.round(sizes_wh * scale)).astype(np.int64)


def shrink(data: bytes, path: Path, size_wh: tuple[int, int], target_wh: tuple[int, int]) -> bytes:
    """Return the bytes of a training copy; the photo's own bytes if it is upright and already has the target size.

    Args:
        size_wh: Displayed size in pixels for which the boxes were drawn.
        target_wh: Size of the copy in pixels, from `shrunk_sizes`.

    Raises:
        ImageFileError: The photo is unreadable, truncated, too large, or has another size than `size_wh`.
    """
    with image_errors(path):
        return _shrink(data, path, size_wh, target_wh)


def _shrink(data: bytes, path: Path, size_wh: tuple[int, int], target_wh: tuple[int, int]) -> bytes:
    photo = open_checked(data, path)
    orientation, shown_wh = left_to_turn(photo), displayed_wh(photo)
    if shown_wh != size_wh:
        raise ImageFileError(
            f"is {shown_wh[0]}×{shown_wh[1]} pixels, but the snapshot says {size_wh[0]}×{size_wh[1]}",
            where=path,
            next_step="replace the photo, or set box_policy.image_size_mismatch: drop_image in the pipeline file",
        )
    if target_wh == size_wh and orientation == UPRIGHT:
        return data
    stored_wh = target_wh[::-1] if orientation in QUARTER_TURNS else target_wh
    pixels = decode(data, photo, stored_wh)
    if pixels.shape[1::-1] != stored_wh:
        pixels = np.asarray(Image.fromarray(pixels).resize(stored_wh, Image.Resampling.BILINEAR))
    return encode_copy(orient(pixels, orientation))
