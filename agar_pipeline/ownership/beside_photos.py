"""Refuses to write into folders of photos.

A program that reads such a folder later would take the written files for photos or for their labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agar_pipeline.errors import StorageError
from agar_pipeline.ownership.made_list import MadeList
from agar_pipeline.photos.formats import is_photo
from agar_pipeline.text.name_list import name_some

_SHOWN = 3


def require_no_photos(root: Path, purpose: str, folders: Iterable[str] = ("",)) -> None:
    """Raise StorageError if a folder that is written to directly contains a photo that we did not make.

    Args:
        root: The folder that a user named; it may not exist yet.
        folders: Folders to check, relative to `root`; the empty text is `root` itself.
    """
    if not root.is_dir():
        return
    made = MadeList.read(root) or MadeList()
    for place in (root / folder for folder in folders if (root / folder).is_dir()):
        names = sorted(path.name for path in place.iterdir() if is_photo(path.name))
        photos = [name for name in names if (place / name).relative_to(root).as_posix() not in made.files]
        if photos:
            free = root.absolute()
            raise StorageError(
                f"holds photos ({name_some(photos, _SHOWN)}), and {purpose} would write beside them; "
                "nothing was written",
                where=place,
                next_step=f"write to a separate folder, such as {free.with_name(f'{free.name}-{purpose}')}",
            )
