"""Photos that a COCO file lists and its folder does not hold, because their names are spelled in another way.

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
    """A sentence on which spelling would find missing photos; None where none does, or nothing is missing."""
    return explain_names(missing, _unlisted(images_dir, listed)) if missing else None


def show_missing(images_dir: Path, missing: Collection[str]) -> str:
    """The same where all are missing, with a name of each side in any case."""
    return show_names(missing, _unlisted(images_dir, ()))


def folder_of_names(images_dir: Path, json_path: Path, names: Collection[str]) -> str:
    """What stands before the names of a COCO file: its own folder, with a slash, where its photos lie beside it.

    Roboflow exports a folder for each part, and names photos relative to that. Empty where names are relative to the
    images' folder, as they are in every other case.
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
