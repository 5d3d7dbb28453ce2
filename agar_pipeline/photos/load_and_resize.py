"""Decodes one photo from disk to the size that the model sees.

Here: decoding, resizing. Not here: what pixels of any kind mean (`eight_bits`), finding the file safely
(`image_paths`), boxes, augmentation.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.eight_bits import UnclearPixelsError, blank_words, pages_words, to_eight_bits
from agar_pipeline.photos.exif_orientation import displayed_wh, left_to_turn, orient
from agar_pipeline.photos.formats import MAX_PIXELS, explain_unopened, open_image, refuse_format


@dataclass(frozen=True)
class PlainPhoto:
    """A decoded photo, with notes for the user."""

    pixels: np.ndarray
    """(H, W, 3) uint8 RGB, as displayed."""
    size_wh: tuple[int, int]
    """Width and height of the photo file, as displayed, pixels."""
    notes: tuple[str, ...]
    """Reasons why a count of colonies may be misleading: further pages, or nothing visible."""


def load_image(path: Path, max_side: int | None, size_wh: tuple[int, int] | None = None) -> tuple[np.ndarray, float]:
    """Read a photo as displayed and scale it so that its longer side is `max_side`.

    A JPEG is decoded at the smallest DCT scale that is not below the target, then resized with antialiasing on uint8.
    From 2048 to 1024 px this takes 10 ms, compared with 227 ms for float tensors.

    Args:
        path: JPEG, PNG, TIFF or another format that PIL reads; EXIF orientation is applied.
        max_side: Longer side of the returned pixels; smaller photos are enlarged. None: the photo's own size.
        size_wh: The displayed size that the COCO file states, if it is to be checked.

    Returns:
        (H, W, 3) uint8 RGB, and the scale: returned pixels per pixel of the photo.

    Raises:
        ImageFileError: unreadable, truncated, larger than MAX_PIXELS, or of another size than `size_wh`.
    """
    with image_errors(path):
        data = path.read_bytes()
        photo = open_checked(data, path)
        shown_wh = displayed_wh(photo)
        if size_wh is not None and shown_wh != tuple(size_wh):
            raise ImageFileError(
                f"is {shown_wh[0]}×{shown_wh[1]} pixels, the COCO file says {size_wh[0]}×{size_wh[1]}, and its boxes "
                "would be misplaced",
                where=path,
                next_step="put the original photo back, or make the dataset again from the current photos",
            )
        return _scaled(data, photo, max_side)


def read_photo(path: Path, max_side: int | None) -> PlainPhoto:
    """Read a photo as `load_image` does, without a stated size, and add notes for the user. Raises ImageFileError."""
    with image_errors(path):
        data = path.read_bytes()
        photo = open_checked(data, path)
        pages, shown_wh = pages_words(photo), displayed_wh(photo)
        pixels, _ = _scaled(data, photo, max_side)
        return PlainPhoto(pixels, shown_wh, tuple(words for words in (pages, blank_words(pixels)) if words))


@contextlib.contextmanager
def image_errors(path: Path) -> Iterator[None]:
    """Turn every exception of PIL for a broken file into an ImageFileError that names the file."""
    try:
        with warnings.catch_warnings():  # PIL warns at half of MAX_PIXELS
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except UnclearPixelsError as error:
        raise ImageFileError(f"cannot be used: {error.what}", where=path, next_step=error.next_step) from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(
            f"has more than {MAX_PIXELS:,} pixels, and could fill the memory ({error})",
            where=path,
            next_step="save it with fewer pixels, or remove it",
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise ImageFileError(
            f"cannot be read as an image, it may be damaged or cut off ({error})",
            where=path,
            next_step="replace it or remove it",
        ) from error


def _scaled(data: bytes, photo: Image.Image, max_side: int | None) -> tuple[np.ndarray, float]:
    orientation, stored_wh = left_to_turn(photo), photo.size
    scale = 1.0 if max_side is None else max_side / max(stored_wh)
    target_wh = (max(1, round(stored_wh[0] * scale)), max(1, round(stored_wh[1] * scale)))
    pixels = resize(decode(data, photo, target_wh), target_wh)
    return np.ascontiguousarray(orient(pixels, orientation)), scale


def open_checked(data: bytes, path: Path) -> Image.Image:
    """Open a photo without reading its pixels. Raises ImageFileError if it may not be read."""
    try:
        photo = open_image(io.BytesIO(data))
    except UnidentifiedImageError:  # its message names an object in memory, not the file
        raise explain_unopened(path) from None
    if error := refuse_format(path, photo):
        raise error
    return photo


def decode(data: bytes, photo: Image.Image, target_wh: tuple[int, int]) -> np.ndarray:
    """Decode a photo to (H, W, 3) uint8 RGB as stored, not smaller than the target.

    A JPEG is decoded at the smallest DCT scale that is not below the target.
    """
    if photo.format in {"JPEG", "MPO"} and photo.mode in {"RGB", "L"}:
        try:
            return simplejpeg.decode_jpeg(data, "RGB", min_width=target_wh[0], min_height=target_wh[1])
        except ValueError:  # simplejpeg also raises libjpeg's warnings; PIL raises only those that matter
            pass
    return np.array(to_eight_bits(photo).image.convert("RGB"))


def resize(pixels: np.ndarray, target_wh: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) uint8 pixels, with antialiasing."""
    if pixels.shape[:2] == target_wh[::-1]:
        return pixels
    import torch

    # channels last: selects the fast uint8 kernel
    chw = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(chw, size=target_wh[::-1], mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()
