"""Reads the facts about one image file: its header, and its pixels if they are needed.

Here: reading. Not here: remembering the facts (`file_memory`), comparing them with declared sizes (`file_checks`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from agar_pipeline.errors import ImageFileError
from agar_pipeline.labels.file_memory import FileFacts
from agar_pipeline.photos.eight_bits import (
    EightBits,
    UnclearPixelsError,
    blank_words,
    has_many_bits,
    pages_words,
    to_eight_bits,
)
from agar_pipeline.photos.exif_orientation import displayed_wh, read_orientation
from agar_pipeline.photos.formats import MAX_PIXELS, explain_unopened, open_image, refuse_format

MAX_FILE_BYTES = 2_000_000_000
_LOOK_SIDE_PX = 512
_UNUSUAL_MODES = {
    "CMYK": "CMYK colours",
    "YCbCr": "YCbCr colours",
    "LAB": "LAB colours",
    "RGBA": "an alpha channel",
    "LA": "an alpha channel",
    "PA": "an alpha channel",
    "La": "an alpha channel",
    "1": "1 bit a pixel",
    "P": "a palette",
}
_FEW_BYTES_A_PIXEL = 0.1
"""A photo with fewer bytes per pixel may be blank; it is decoded even if only headers are asked for."""


def read_facts(path: Path, *, deep: bool) -> FileFacts:
    """Read the header of an image file; with `deep` also check that every pixel can be decoded."""
    try:
        size_bytes = path.stat().st_size
        if not size_bytes:
            return FileFacts("unreadable_image", "the file is empty")
        if size_bytes > MAX_FILE_BYTES:
            return FileFacts("oversized_image", f"the file has {size_bytes:,} bytes")
        with open_image(path) as photo:
            return _facts_of(photo, path, deep)
    except UnclearPixelsError as error:
        return FileFacts("unreadable_image", str(error))
    except Image.DecompressionBombError as error:
        return FileFacts("oversized_image", f"it has more than {MAX_PIXELS:,} pixels: {error}")
    except UnidentifiedImageError:
        return FileFacts("unreadable_image", _words_of(explain_unopened(path)))
    except MemoryError:
        return FileFacts("oversized_image", "it does not fit into memory")
    except Exception as error:  # noqa: BLE001 - PIL's plugins raise any exception on a broken file
        return FileFacts("unreadable_image", str(error) or type(error).__name__)


def _words_of(error: ImageFileError) -> str:
    return f"it {error.what}: {error.next_step}"


def _facts_of(photo: Image.Image, path: Path, deep: bool) -> FileFacts:
    facts: dict[str, Any] = {
        "format": photo.format or "",
        "mode": photo.mode,
        "displayed_wh": displayed_wh(photo),
        "orientation": read_orientation(photo),
    }
    if refused := refuse_format(path, photo):
        return FileFacts("unreadable_image", _words_of(refused), **facts)
    words = [_UNUSUAL_MODES.get(photo.mode, ""), pages_words(photo)]
    try:
        rule, reason, seen = _look_at(photo, path, deep)
    except UnclearPixelsError as error:
        return FileFacts("unreadable_image", str(error), **facts)
    if seen is not None:
        words.append(seen.scaled_from)
        small_wh = min(seen.image.width, _LOOK_SIDE_PX), min(seen.image.height, _LOOK_SIDE_PX)
        facts["blank"] = blank_words(np.asarray(seen.image.resize(small_wh, Image.Resampling.NEAREST)))
    return FileFacts(rule, reason, **facts, peculiar="; ".join(word for word in words if word))


def _look_at(photo: Image.Image, path: Path, deep: bool) -> tuple[str, str, EightBits | None]:
    """The rule that the pixels break, and why; and the pixels, if they were decoded.

    Without `deep` they are decoded only if the file is suspicious: few bytes per pixel, or more than 8 bits per value.
    """
    width, height = photo.size
    suspicious = path.stat().st_size < _FEW_BYTES_A_PIXEL * width * height or has_many_bits(photo)
    if not deep and not suspicious:
        return "", "", None
    if photo.format not in {"JPEG", "MPO"} or photo.mode not in {"RGB", "L"}:
        return "", "", to_eight_bits(photo)
    import simplejpeg

    try:  # at an eighth of its size: this still reads all data
        gray = simplejpeg.decode_jpeg(path.read_bytes(), "GRAY", min_width=1, min_height=1)
    except ValueError as error:
        if not deep:
            return "", "", None
        if "remature end" in str(error):  # PIL misses it if zeros follow, as after a broken download
            return "unreadable_image", "the file is cut off: its end is missing", None
        return "damaged_image", str(error), to_eight_bits(photo)
    return "", "", EightBits(Image.fromarray(gray[..., 0]))
