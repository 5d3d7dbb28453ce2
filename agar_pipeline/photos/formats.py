"""Decides by name and format which files are photos and which of them can be read, and opens one.

All files that look like photos are listed. One that cannot be read is reported when it is opened.
Here: names and formats. Not here: walking a tree (`folder_walk`), pixels (`photos.load_and_resize`).
"""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from agar_pipeline.errors import ImageFileError
from agar_pipeline.text.safe_text import as_command

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 250_000_000
"""A photo with more pixels is refused, because a small file can claim any size and fill the memory."""
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo")
_HEIF = (".heic", ".heif", ".hif")
READ = frozenset(
    {*_JPEG, *_HEIF, ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga"}
)
"""Suffixes that can be read; HEIC only if the extra `heic` is installed."""
_RAW = (".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".raf", ".pef", ".srw")
_MICROSCOPE = (".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".vsi", ".svs", ".ndpi", ".scn", ".stk", ".ims", ".dcm")
_EDITOR = (".psd", ".xcf")
_OTHER = (".jxl", ".exr", ".hdr")
_NOT_READ = frozenset({*_RAW, *_MICROSCOPE, *_EDITOR, *_OTHER})
"""Suffixes that cannot be read. PIL would open some of these files and show the small preview."""
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
    """Open a photo as `Image.open` of PIL does, also HEIC if its plugin is installed. No pixel is read.

    Raises:
        PIL.Image.DecompressionBombError: It has more than MAX_PIXELS; with PIL's own limit it would be 179 million.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # PIL warns above this number, and refuses above twice this number
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


def refuse_format(path: Path | str, photo: Image | None = None) -> ImageFileError | None:
    """Return an error if a file has a format that is not read here, although PIL may open it; else None.

    Args:
        path: Its suffix is checked.
        photo: The photo that PIL opened, which may be a raw file under another suffix.
    """
    suffix = PurePath(path).suffix.lower()
    is_dng = photo is not None and photo.format == "TIFF" and _DNG_VERSION in getattr(photo, "tag_v2", ())
    if suffix in _RAW or (is_dng and suffix not in _NOT_READ):
        return ImageFileError(
            "is a camera's raw file, which cannot be read as an image",
            where=path,
            next_step="develop it, and save it as TIFF, PNG or JPEG",
        )
    if suffix in _MICROSCOPE:
        return ImageFileError(
            "is in a format of an instrument, which cannot be read as an image",
            where=path,
            next_step="export it as TIFF, PNG or JPEG",
        )
    if suffix in _EDITOR:
        return ImageFileError(
            "is a picture editor's file, which cannot be read as an image",
            where=path,
            next_step="export it as TIFF, PNG or JPEG",
        )
    if suffix in _OTHER:
        return ImageFileError(
            "is in a format that cannot be read as an image", where=path, next_step="save it as TIFF, PNG or JPEG"
        )
    return None


def explain_unopened(path: Path | str) -> ImageFileError:
    """Return the error for a file that PIL could not open as an image, by its suffix and its first bytes."""
    if refusal := refuse_format(path):
        return refusal
    try:
        with Path(path).open("rb") as stream:
            first = stream.read(_FIRST_BYTES)
    except OSError as error:
        return ImageFileError(
            f"is not readable ({error.strerror})", where=path, next_step="check the permissions of the file"
        )
    if not first:
        return ImageFileError(
            "is empty, and cannot be read as an image", where=path, next_step="replace it or remove it"
        )
    if first[4:8] == b"ftyp" and first[8:12] in _HEIF_BRANDS and not _register_heif():
        return ImageFileError(
            "is HEIC, which cannot be read as an image without a plugin",
            where=path,
            next_step=f"install the plugin: {as_command(sys.executable, '-m', 'pip', 'install', 'pillow-heif')}",
        )
    return ImageFileError(
        "is damaged or in no known format, and cannot be read as an image",
        where=path,
        next_step="replace it or remove it",
    )
