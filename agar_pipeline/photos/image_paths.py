"""Finds an image's file and checks whether it may be opened. No pixel is read."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.errors import ImageFileError


@dataclass(frozen=True)
class ImageFile:
    """The file behind a `file_name`, or the reason why none may be opened."""

    path: Path | None
    rule: str = ""
    """`unsafe_file_name` or `missing_image` if there is no path."""
    error: ImageFileError | None = None
    """Why there is no path."""

    @property
    def reason(self) -> str:
        """Why there is no path, in one sentence without a next step; empty if there is one."""
        return self.error.problem if self.error else ""


def find_image_file(images_dir: Path, file_name: str) -> ImageFile:
    """Find the regular file inside `images_dir` that a COCO file's `file_name` means; symbolic links are followed."""
    if error := refuse_name(images_dir, file_name):
        return ImageFile(None, "unsafe_file_name", error)
    root = Path(images_dir).resolve()
    try:
        path = (root / file_name).resolve()
        mode = path.stat().st_mode
    except FileNotFoundError:
        missing = ImageFileError(
            "does not exist", where=root / file_name, next_step="add the photo, or give another images folder"
        )
        return ImageFile(None, "missing_image", missing)
    except (OSError, RuntimeError, ValueError) as error:
        unreachable = ImageFileError(
            f"cannot be reached ({error})",
            where=root / file_name,
            next_step="correct its name in the COCO file, its permissions, or the link",
        )
        return ImageFile(None, "missing_image", unreachable)
    if not path.is_relative_to(root):
        outside = ImageFileError(
            f"is a link out of the images folder to {path}",
            where=root / file_name,
            next_step="replace the link by a copy of the file",
        )
        return ImageFile(None, "unsafe_file_name", outside)
    if not stat.S_ISREG(mode):
        irregular = ImageFileError("is not a regular file", where=path, next_step="remove the image from the COCO file")
        return ImageFile(None, "unsafe_file_name", irregular)
    return ImageFile(path)


def refuse_name(images_dir: Path, file_name: str) -> ImageFileError | None:
    """Return an error if a `file_name` may not even be looked up; else None.

    >>> print(refuse_name(Path("photos"), "../1.jpg").problem)
    file_name '../1.jpg' must be relative to photos and stay inside it
    """
    if "\0" in file_name or not file_name:
        return ImageFileError(
            "is empty or has a NUL character, and is no file name",
            where=f"file_name {file_name!r}",
            next_step="correct it in the COCO file",
        )
    if Path(file_name).is_absolute() or ".." in Path(file_name).parts:
        return ImageFileError(
            f"must be relative to {images_dir} and stay inside it",
            where=f"file_name {file_name!r}",
            next_step="correct it in the COCO file",
        )
    return None


def safe_image_path(images_dir: Path, file_name: str) -> Path:
    """Return the file of an image, which must be a regular file inside `images_dir`; symbolic links are followed.

    Raises:
        ImageFileError: `file_name` is absolute, contains `..` or a NUL, leads out of the folder through a link, does
            not exist, or is not a regular file.
    """
    found = find_image_file(images_dir, file_name)
    if found.error is not None:
        raise found.error
    assert found.path is not None
    return found.path
