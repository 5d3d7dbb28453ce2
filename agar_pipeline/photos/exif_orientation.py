"""Reads from a photo's header how its EXIF data says it is to be rotated for display.

After the snapshot, all sizes and boxes are those of the photo as displayed, and every loader rotates the pixels. Here:
reading the tag. Not here: rotating pixels (`load_and_resize`), or boxes (`box_formats`).
"""

from __future__ import annotations

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
    """Return width and height of the photo as displayed."""
    return photo.size[::-1] if left_to_turn(photo) in QUARTER_TURNS else photo.size
