"""Finds an image's file and checks whether it may be opened. No pixel is read."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.errors import ImageFileError

MAX_PIXELS = 250_000_000
"""A photo with more pixels is refused, because a small file can claim any size and fill the memory."""


@dataclass(frozen=True)
class ImageFile:
    """The file behind a `file_name`, or the reason why none may be opened."""

    path: Path | None
    rule: str = ""
    """`unsafe_file_name` or `missing_image` if there is no path."""
    reason: str = ""
    """One sentence, without a next step."""
    next_step: str = ""


def find_image_file(images_dir: Path, file_name: str) -> ImageFile:
    """Find the regular file inside `images_dir` that a COCO file's `file_name` means; symbolic links are followed."""
    if reason := unsafe_name(images_dir, file_name):
        return _unsafe(reason, "mend it in the COCO file")
    root = Path(images_dir).resolve()
    try:
        path = (root / file_name).resolve()
        mode = path.stat().st_mode
    except FileNotFoundError:
        next_step = "add it, or give another images folder"
        return ImageFile(None, "missing_image", f"{root / file_name} does not exist", next_step)
    except (OSError, RuntimeError, ValueError) as error:
        next_step = "mend the name, or the permissions"
        return ImageFile(None, "missing_image", f"{root / file_name!s} cannot be reached ({error})", next_step)
    if not path.is_relative_to(root):
        return _unsafe(f"{root / file_name} is a link out of the images folder to {path}", "copy the file instead")
    if not stat.S_ISREG(mode):
        return _unsafe(f"{path} is not a regular file", "remove the image from the COCO file")
    return ImageFile(path)


def unsafe_name(images_dir: Path, file_name: str) -> str:
    """Say why a `file_name` may not even be looked up; empty if it may.

    >>> unsafe_name(Path("photos"), "../1.jpg")
    "file_name '../1.jpg' must be relative to photos and stay inside it"
    """
    if "\0" in file_name or not file_name:
        return f"file_name {file_name!r} is no file name"
    if Path(file_name).is_absolute() or ".." in Path(file_name).parts:
        return f"file_name {file_name!r} must be relative to {images_dir} and stay inside it"
    return ""


def _unsafe(reason: str, next_step: str) -> ImageFile:
    return ImageFile(None, "unsafe_file_name", reason, next_step)


def safe_image_path(images_dir: Path, file_name: str) -> Path:
    """Return the file of an image, which must be a regular file inside `images_dir`; symbolic links are followed.

    Raises:
        ImageFileError: `file_name` is absolute, contains `..` or a NUL, leads out of the folder through a link, does
            not
            exist, or is not a regular file.
    """
    found = find_image_file(images_dir, file_name)
    if found.path is None:
        raise ImageFileError(f"{found.reason}: {found.next_step}")
    return found.path
