"""How a photo's EXIF data says it is to be turned for display, from its header alone.

There is one convention downstream of the snapshot: sizes and boxes are those of the photo as displayed, and every
loader turns the pixels. Here: reading the tag. Not here: turning pixels (`decoding`), or boxes (`box_formats`).
"""

from __future__ import annotations

from PIL import Image

TAG = 0x0112
QUARTER_TURNS = frozenset({5, 6, 7, 8})


def read_orientation(photo: Image.Image) -> int:
    """1…8 as EXIF counts them, 1 for upright; a photo opened with PIL, its pixels not yet loaded."""
    if photo.format == "PNG" and "exif" not in photo.info:
        return 1  # PIL would decode the whole photo to look for it behind the pixels, where no camera writes it
    try:
        orientation = photo.getexif().get(TAG, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data makes PIL raise anything; viewers then show it as stored
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def left_to_turn(photo: Image.Image) -> int:
    """The orientation that the pixels still have once PIL has loaded them: of TIFF it turns them itself."""
    return 1 if photo.format == "TIFF" else read_orientation(photo)


def displayed_wh(photo: Image.Image) -> tuple[int, int]:
    """Width and height as a viewer shows the photo."""
    return photo.size[::-1] if left_to_turn(photo) in QUARTER_TURNS else photo.size
