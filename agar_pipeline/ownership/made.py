"""The list of what we made in a folder of the user's: how each file looked when it was written.

The list is a file of the folder itself, `.agar-made.json`, so that it moves with the folder. It is written before
anything else is, and says of every file what it may look like at any moment until the list is written again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from agar_pipeline.config.places import OURS
from agar_pipeline.errors import StorageError, remedy
from agar_pipeline.files.disk import sha256_of, sync
from agar_pipeline.ownership.originals import is_another_name
from agar_pipeline.photos.formats import is_photo

LIST = f"{OURS}made.json"
_PART = f"{LIST}.part"
_START = b'{"made_by":"agar_pipeline",'
_FORMAT = 1


@dataclass(frozen=True)
class MadeFile:
    """A file as we wrote it."""

    by: str
    """The purpose of the folder: the command that wrote it."""
    size_bytes: int
    sha256: str
    mtime_ns: int | None = None
    """Of photos only: there may be thousands, and as long as size and mtime are the same they are not read again."""
    link_of: str | None = None
    """The original photo that the file is a hard link of."""

    @staticmethod
    def describe(path: Path, by: str, sha256: str | None = None, link_of: str | None = None) -> MadeFile:
        """The file as it is now; it is read unless its hash is known."""
        found = path.lstat()
        mtime_ns = found.st_mtime_ns if is_photo(path.name) else None
        return MadeFile(by, found.st_size, sha256 or sha256_of(path), mtime_ns, link_of)

    def is_still(self, path: Path) -> bool:
        """Whether the file is there as it was written; a hard link, whether the original has a name of its own."""
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                return False
            if self.link_of is not None:
                return is_another_name(path, self.link_of)
            if found.st_size != self.size_bytes:
                return False
            return self.mtime_ns == found.st_mtime_ns or sha256_of(path) == self.sha256
        except (FileNotFoundError, NotADirectoryError):
            return False


@dataclass
class MadeList:
    """What we made in one folder."""

    purposes: list[str] = field(default_factory=list)
    """Of all commands that ever wrote here."""
    draft: str | None = None
    """The folder in which files are being made; what is in it after a crash is ours."""
    folders: list[str] = field(default_factory=list)
    files: dict[str, list[MadeFile]] = field(default_factory=dict)
    """Relative path → what it may look like: several only while files are being replaced."""

    def is_ours(self, root: Path, name: str) -> bool:
        """Whether the file of this name is in the list, still as it was written, and behind no symbolic link."""
        files = self.files.get(name, ())
        return any(file.is_still(root / name) for file in files) and not any(
            (root / folder).is_symlink() for folder in _with_outer(name.rpartition("/")[0])
        )

    @staticmethod
    def read(root: Path) -> MadeList | None:
        """The list of a folder; None where nothing of ours is in it.

        Raises:
            StorageError: a file of this name is there, but is no list of ours, or of a later version.
        """
        path = root / LIST
        if not os.path.lexists(path):
            return None
        try:
            if path.is_symlink():
                raise ValueError("a symbolic link")
            plain = orjson.loads(path.read_bytes())
            if (plain["made_by"], plain["format"]) != ("agar_pipeline", _FORMAT):
                raise ValueError("of another format")
            files = {_inside(name): [MadeFile(**file) for file in files] for name, files in plain["files"].items()}
            folders = [_inside(name) for name in plain["folders"]]
            draft = None if plain["draft"] is None else _inside(plain["draft"])
            return MadeList(list(plain["purposes"]), draft, folders, files)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{path} cannot be understood ({error}): it says which files of the folder are ours\n"
                + remedy("write to another folder", option="give --out-dir another folder")
                + ", or put the file back"
            ) from error

    def write(self, root: Path) -> None:
        """Replace the list of a folder, by rename."""
        plain: dict[str, Any] = {"made_by": "agar_pipeline", "format": _FORMAT, **asdict(self)}
        part = root / _PART
        with contextlib.suppress(FileNotFoundError):
            if not _begins_as_ours(part):
                raise StorageError(
                    f"{part} is in the way and is not ours: move it away, or "
                    + remedy("write to another folder", option="give --out-dir another folder")
                )
            part.unlink()
        with part.open("xb") as stream:
            stream.write(orjson.dumps(plain))
        sync(part)
        part.replace(root / LIST)

    def remove(self, root: Path) -> None:
        (root / LIST).unlink()


def folders_of(names: Iterable[str]) -> list[str]:
    """The folders that files lie in, outer ones first."""
    innermost = {name.rpartition("/")[0] for name in names}
    return sorted({folder for inner in innermost for folder in _with_outer(inner)}, key=lambda name: name.count("/"))


@cache
def _with_outer(folder: str) -> tuple[str, ...]:
    """A relative folder and those around it."""
    return tuple(str(each) for each in (PurePosixPath(folder), *PurePosixPath(folder).parents) if str(each) != ".")


def made_below(root: Path, by: str) -> set[Path]:
    """What a command wrote into a folder, or into folders below it, and what is still as it was written.

    Raises:
        StorageError: a list cannot be understood.
    """
    found = set()
    for listed in root.rglob(LIST):
        made = MadeList.read(listed.parent) or MadeList()
        own = [name for name, files in made.files.items() if any(file.by == by for file in files)]
        found |= {listed.parent / name for name in own if made.is_ours(listed.parent, name)}
    return found


def is_part_of_list(path: Path) -> bool:
    """Whether a file is the list, or was becoming one when a process was killed."""
    return path.name in (LIST, _PART) and _begins_as_ours(path)


def _begins_as_ours(path: Path) -> bool:
    """Whether a file holds what a list begins with, or the first bytes of that."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as stream:
        found = stream.read(len(_START))
    return found == _START[: len(found)]


def _inside(name: str) -> str:
    """Raises ValueError for a path that leads out of the folder."""
    if not name or "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name!r} leads out of the folder")
    return name
