"""Converts the pixels of any photo to 8-bit gray or RGB, upright, for training, prediction, copies and pages alike.

Values of more than 8 bits are scaled by the bits that are used: a camera's 12 bits are stored in 16 with four bits
empty, and would be nearly black. Not here: finding, opening and resizing photos (`formats`, `load_and_resize`).
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image

from agar_pipeline.photos.exif_orientation import left_to_turn
from agar_pipeline.photos.formats import open_image
from agar_pipeline.text.unplaced_error import UnplacedError

_ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
"""PIL reads only the high byte of 16-bit colours. If the other byte order is set, it reads the low byte."""
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _SEPARATE, _SIGNED = 0, 2, 2
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DARK = 16
"""Of 255: 12 bits stored in 16 and read without scaling reach 15 at most."""
_FLAT = 4
_SHARE = 0.1
"""Percent of the pixels that are ignored on either side, for hot pixels and dust."""
_SAMPLED_SIDE = 512


class UnclearPixelsError(UnplacedError):
    """The meaning of a photo's values is unclear."""


@dataclass(frozen=True)
class EightBits:
    """A photo's pixels, converted to 8 bits."""

    image: Image.Image
    """Mode L or RGB, as stored: the EXIF orientation is not applied yet."""
    scaled_from: str = ""
    """`16 bits per pixel, 12 of them used`; empty if the file has 8."""


def upright(photo: Image.Image) -> Image.Image:
    """Convert a photo just opened to mode L or RGB, as displayed. Raises as `to_eight_bits`."""
    orientation = left_to_turn(photo)
    image = to_eight_bits(photo).image
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def to_eight_bits(photo: Image.Image) -> EightBits:
    """Convert the pixels of a photo just opened to 8 bits. Transparent pixels become white.

    Raises:
        UnclearPixelsError: the meaning of its values is unclear.
        OSError: as PIL, for a broken file.
    """
    if photo.mode.startswith("F"):
        raise UnclearPixelsError(
            "its pixels are floating-point numbers, and the value of white is unknown",
            next_step="save it with 8 or 16 bits",
        )
    if _tag(photo, _SAMPLE_FORMAT) == _SIGNED and photo.mode == "L":
        raise UnclearPixelsError(
            "its pixels are signed numbers of 8 bits, and the value of black is unknown",
            next_step="save it with unsigned numbers",
        )
    if has_many_bits(photo):
        return _from_deep_gray(photo) if photo.mode.startswith("I") else _from_deep_colours(photo)
    return EightBits(_on_white(photo))


def has_many_bits(photo: Image.Image) -> bool:
    """Whether a photo just opened has more than 8 bits per pixel or colour, including floating-point numbers."""
    stated = _tag(photo, _BITS_PER_SAMPLE)
    in_tag = isinstance(stated, int) and stated > 8
    return photo.mode.startswith(("I", "F")) or in_tag or ";16" in _raw_mode(photo)


def _on_white(photo: Image.Image) -> Image.Image:
    if photo.mode in _ALPHA or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return photo if photo.mode in ("L", "RGB") else photo.convert("RGB")


def _from_deep_gray(photo: Image.Image) -> EightBits:
    stated, white_is_zero = _tag(photo, _BITS_PER_SAMPLE), _tag(photo, _PHOTOMETRIC) == _WHITE_IS_ZERO
    in_file = 16 if photo.mode.startswith("I;16") or stated == 16 else 32
    values = np.asarray(photo)
    if values.size and int(values.min()) < 0:
        raise UnclearPixelsError(
            f"its pixels have values down to {int(values.min())}, or use the highest of 32 bits",
            next_step="save it with values of 0 and more",
        )
    bits = used_bits(int(values.max(initial=0)))
    if isinstance(stated, int) and 8 < stated < 16:
        in_file, bits = stated, stated
    if white_is_zero and bits != in_file:  # the largest value is the darkest, and does not show where black is
        raise UnclearPixelsError(
            f"0 is its white, it uses {bits} of {in_file} bits per pixel, and the value of black is unknown",
            next_step="save it with 8 bits",
        )
    gray = (values >> (bits - 8)).astype(np.uint8)
    return EightBits(Image.fromarray(255 - gray if white_is_zero else gray), _words(in_file, bits))


def _from_deep_colours(photo: Image.Image) -> EightBits:
    """Convert 16-bit colours.

    PIL keeps the high byte, which is enough if all 16 bits are used; else both are needed.
    """
    if _tag(photo, _PLANAR) == _SEPARATE:  # PIL takes each byte for a pixel, or both halves for the high byte
        raise UnclearPixelsError(
            "its colours lie apart, in one plane of 16 bits for each",
            next_step="save it interleaved, with the colours of a pixel together",
        )
    if photo.mode == "CMYK":  # white is no ink: the used values do not show the range
        return EightBits(_on_white(photo), _words(16, 16))
    again = io.BytesIO(_bytes_of(photo))
    high = photo.convert("RGBA") if photo.mode in _ALPHA else photo
    high_bands = np.asarray(high)
    colours = slice(None) if high.mode != "RGBA" else slice(3)
    bits = used_bits((int(high_bands[..., colours].max(initial=0)) << 8) | 0xFF)
    if bits == 16:
        return EightBits(_on_white(photo), _words(16, 16))
    try:
        low = open_image(again)
        low.tile = [_in_other_order(tile) for tile in low.tile]  # type: ignore[attr-defined]
        low_bands = np.asarray(low)
    except (KeyError, ValueError, OSError) as error:
        raise UnclearPixelsError(
            f"it has 16 bits per colour, of which at most {bits} are used, and its low bits cannot be read",
            next_step="save it with 8 bits, or with values that use all 16",
        ) from error
    values = high_bands[..., colours].astype(np.uint16) << 8 | low_bands[..., colours]
    bits = used_bits(int(values.max(initial=0)))
    scaled = high_bands.copy()
    scaled[..., colours] = values >> (bits - 8)
    return EightBits(_on_white(Image.fromarray(scaled, high.mode)), _words(16, bits))


def _in_other_order(tile):  # type: ignore[no-untyped-def]  # PIL's own named tuple
    raw_mode, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args
    if raw_mode.startswith("RGBa"):
        raise ValueError("PIL divides by the alpha while it reads")
    other = raw_mode[:-1] + _OTHER_BYTE[raw_mode[-1]]
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *rest))


def _bytes_of(photo: Image.Image) -> bytes:
    stream = photo.fp  # type: ignore[attr-defined]
    place = stream.tell()
    stream.seek(0)
    data: bytes = stream.read()
    stream.seek(place)
    return data


def _raw_mode(photo: Image.Image) -> str:
    """Return how PIL unpacks the file's bytes. Nothing else in PIL tells that colours have 16 bits."""
    tiles = getattr(photo, "tile", None)
    args = tiles[0].args if tiles else ""
    first = args if isinstance(args, str) else args[0] if args else ""
    return first if isinstance(first, str) else ""


def _tag(photo: Image.Image, number: int) -> object:
    """Return a numeric tag of a TIFF, or the first of several values; None for other formats."""
    value = getattr(photo, "tag_v2", {}).get(number) if photo.format == "TIFF" else None
    return value[0] if isinstance(value, tuple) and value else value


def used_bits(largest: int) -> int:
    """Return the bit depth that a camera or scanner probably used: the bits of the largest value, rounded up to even.

    >>> used_bits(4095), used_bits(100)
    (12, 8)
    """
    return max(8, (largest.bit_length() + 1) // 2 * 2)


def _words(in_file: int, used: int) -> str:
    return f"{in_file} bits per pixel" + (f", {used} of them used" if used != in_file else "")


def blank_words(pixels: np.ndarray) -> str:
    """Say why nothing can be seen on (H, W) or (H, W, C) uint8 (nearly black or uniform); empty if something can.

    Only some of the pixels, evenly spaced, are checked.
    """
    height, width = pixels.shape[:2]
    some = pixels[:: max(1, height // _SAMPLED_SIDE), :: max(1, width // _SAMPLED_SIDE)]
    low, high = np.percentile(some.reshape(some.shape[0] * some.shape[1], -1), [_SHARE, 100 - _SHARE], axis=0)
    if high.max() < _DARK:
        return f"nearly black: {100 - _SHARE:g} % of its pixels are at most {high.max():.0f} of 255"
    if (high - low).max() <= _FLAT:
        return f"nearly uniform: its pixels differ by at most {(high - low).max():.0f} of 255"
    return ""


def pages_words(photo: Image.Image) -> str:
    """Say that further pages of a file are not read; empty if there is one.

    The preview in a phone's JPEG is no page.
    """
    if photo.format in ("JPEG", "MPO"):
        return ""
    try:
        pages = int(getattr(photo, "n_frames", 1))
    except (OSError, ValueError, SyntaxError, EOFError):
        return ""  # a later page is broken; only the first one is read
    return f"{pages} pages, of which only the first is read" if pages > 1 else ""
