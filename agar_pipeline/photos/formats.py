"""Decides by name and format which files are photos and which of them can be read, and opens one.

All files that look like photos are listed. The code that opens one that cannot be read names it, with the next step.
Here: names and formats. Not here: walking a tree (`folder_walk`), pixels (`photos.load_and_resize`).
"""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from agar_pipeline.text.safe_text import as_command

if TYPE_CHECKING:
    from PIL.Image import Image

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo")
_HEIF = (".heic", ".heif", ".hif")
READ = frozenset(
    {*_JPEG, *_HEIF, ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga"}
)
"""Suffixes that can be read; HEIC only if the extra `heic` is installed."""
_RAW = (".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".raf", ".pef", ".srw")
_MICROSCOPE = (".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".vsi", ".svs", ".ndpi", ".scn", ".stk", ".ims", ".dcm")
_NOT_READ = {
    **dict.fromkeys(_RAW, "a camera's raw file: develop it, and save it as TIFF, PNG or JPEG"),
    **dict.fromkeys(_MICROSCOPE, "a format of an instrument: export it as TIFF, PNG or JPEG"),
    **dict.fromkeys((".psd", ".xcf"), "a picture editor's file: export it as TIFF, PNG or JPEG"),
    **dict.fromkeys((".jxl", ".exr", ".hdr"), "a format that is not read here: save it as TIFF, PNG or JPEG"),
}
"""Suffix → what such a file is, and the next step. PIL would open some of them and show the small preview."""
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_DNG_VERSION = 50706
"""A tag that every DNG has."""
_FIRST_BYTES = 12
_LABELS = frozenset({".json", ".xml", ".txt", ".csv", ".yaml", ".yml"})
_SERVICE_NAMES = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin", "lost+found"}
)
"""Files that operating systems and network disks leave in folders, in lower case."""


def is_photo(name: str | PurePath) -> bool:
    """Whether a file of this name is meant to be a photo, readable or not.

    >>> is_photo("1.JPG"), is_photo("1.nef"), is_photo("1.txt")
    (True, True, False)
    """
    return (suffix := PurePath(name).suffix.lower()) in READ or suffix in _NOT_READ


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or a system's own:

    `._1.jpg`, `__MACOSX`, `.ipynb_checkpoints`, `Thumbs.db`.
    """
    return name.startswith(".") or name.lower() in _SERVICE_NAMES


def may_be_missed(name: str) -> bool:
    """Whether a user might miss a hidden file of this name: a photo, labels, and files that systems create."""
    return is_photo(name) or PurePath(name).suffix.lower() in _LABELS or name.lower() in _SERVICE_NAMES


def can_be_read(name: str | PurePath) -> bool:
    """Whether photos of this suffix can be read with the installed packages."""
    return PurePath(name).suffix.lower() in READ and not lacks_plugin(name)


def lacks_plugin(name: str | PurePath) -> bool:
    """Whether photos of this suffix need a plugin that is not installed, so that findings about them may change."""
    return PurePath(name).suffix.lower() in _HEIF and not _register_heif()


def open_image(source: Path | str | io.BytesIO) -> Image:
    """Open a photo as `Image.open` of PIL does, also HEIC if its plugin is installed. No pixel is read."""
    from PIL import Image

    _register_heif()
    return Image.open(source)


@functools.cache
def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def why_not_read(path: Path | str, photo: Image | None = None) -> str:
    """Say what a file is and what to do if it is no photo that can be read; empty if it may be one.

    Args:
        path: Its suffix is checked, and its first bytes if PIL could not open it.
        photo: The photo that PIL opened.
    """
    if reason := _NOT_READ.get(PurePath(path).suffix.lower()):
        return reason
    if photo is not None:
        is_dng = photo.format == "TIFF" and _DNG_VERSION in getattr(photo, "tag_v2", ())
        return _NOT_READ[".dng"] if is_dng else ""
    try:
        with Path(path).open("rb") as stream:
            first = stream.read(_FIRST_BYTES)
    except OSError as error:
        return f"not to be opened ({error.strerror})"
    if not first:
        return "empty: replace or remove it"
    if first[4:8] == b"ftyp" and first[8:12] in _HEIF_BRANDS and not _register_heif():
        return f"HEIC, which needs a plugin: {as_command(sys.executable, '-m', 'pip', 'install', 'pillow-heif')}"
    return "in no known format: replace or remove it"
