"""Explains which photos of a COCO file are missing in its folder because their names are spelled differently.

Here: comparing a file with a folder. Not here: the spellings that are tried (`name_spellings`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from agar_pipeline.photos.folder_walk import PassedOver, walk_files
from agar_pipeline.photos.formats import is_photo
from agar_pipeline.photos.name_spellings import explain_names, show_names

_LOOKED_AT = 20


def explain_missing(images_dir: Path, missing: Collection[str], listed: Collection[str]) -> str | None:
    """Say which spelling would find missing photos; None if no spelling does, or if none is missing."""
    return explain_names(missing, _unlisted(images_dir, listed)) if missing else None


def show_missing(images_dir: Path, missing: Collection[str]) -> str:
    """Say the same if all photos are missing; the text always has an example of each side."""
    return str(show_names(missing, _unlisted(images_dir, ())))


def folder_of_names(images_dir: Path, json_path: Path, names: Collection[str]) -> str:
    """Return the prefix for the names of a COCO file: its own folder with a slash, if its photos are next to it.

    Roboflow exports a folder for each part, and its names are relative to that folder. In all other cases the names are
    relative to the images' folder, and the prefix is empty.
    """
    folder = Path(json_path).parent
    if folder == images_dir or not folder.is_relative_to(images_dir):
        return ""
    looked_at = list(names)[:_LOOKED_AT]
    beside, below = (sum((place / name).is_file() for name in looked_at) for place in (folder, images_dir))
    return f"{folder.relative_to(images_dir).as_posix()}/" if beside > below else ""


def _unlisted(images_dir: Path, listed: Collection[str]) -> list[str]:
    found = (path for path in walk_files(Path(images_dir), PassedOver()) if is_photo(path.name))
    return sorted({str(path.relative_to(images_dir)) for path in found}.difference(listed))
