"""A photo as a smaller JPEG, upright and never enlarged.

Decoded at the smallest DCT scale that will do, resized antialiased. Not here: how the JPEG is written (`jpeg_copy`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.decoding import decode, image_errors, open_checked, orient
from agar_pipeline.photos.exif_orientation import QUARTER_TURNS, displayed_wh, left_to_turn
from agar_pipeline.photos.jpeg_copy import QUALITY, SUBSAMPLING, encode_copy

RECIPE = f"jpeg-{QUALITY}-{SUBSAMPLING}-2"
"""Names how the bytes come about; the last figure is raised whenever they would come out otherwise."""
UPRIGHT = 1


def shrunk_sizes(sizes_wh: np.ndarray, max_side: int) -> np.ndarray:
    """(N, 2) int64 sizes whose longer side is `max_side` at most; smaller ones stay as they are."""
    scale = np.minimum(1.0, max_side / np.maximum(sizes_wh.max(axis=1, initial=1), 1))[:, None]
    return np.maximum(1, np.round(sizes_wh * scale)).astype(np.int64)


def shrink(data: bytes, path: Path, size_wh: tuple[int, int], target_wh: tuple[int, int]) -> bytes:
    """The bytes of a training copy: the photo's own where it is upright and of the target's size already.

    Args:
        data: The photo's file.
        path: For error messages.
        size_wh: The displayed size that the boxes were drawn for.
        target_wh: As `shrunk_sizes` gives it.

    Raises:
        ImageFileError: unreadable, truncated, too large, or of another size than `size_wh`.
    """
    with image_errors(path):
        return _shrink(data, path, size_wh, target_wh)


def _shrink(data: bytes, path: Path, size_wh: tuple[int, int], target_wh: tuple[int, int]) -> bytes:
    photo = open_checked(data, path)
    orientation, shown_wh = left_to_turn(photo), displayed_wh(photo)
    if shown_wh != size_wh:
        raise ImageFileError(
            f"{path} is {shown_wh[0]}×{shown_wh[1]} pixels, the snapshot says {size_wh[0]}×{size_wh[1]}: "
            "set box_policy.image_size_mismatch: drop_image, or replace the photo"
        )
    if target_wh == size_wh and orientation == UPRIGHT:
        return data
    stored_wh = target_wh[::-1] if orientation in QUARTER_TURNS else target_wh
    pixels = decode(data, photo, stored_wh)
    if pixels.shape[1::-1] != stored_wh:
        pixels = np.asarray(Image.fromarray(pixels).resize(stored_wh, Image.Resampling.BILINEAR))
    return encode_copy(orient(pixels, orientation))
