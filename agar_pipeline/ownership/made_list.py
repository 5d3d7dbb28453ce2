"""The list of files that were made in a user's folder, with size and hash of each file as it was written.

The list is the file `.agar-made.json` of the folder itself, so that it moves with the folder. It is written before any
other file, and contains all states in which a file can be until the list is written again.
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
    """Of photos only, because there may be thousands: while size and mtime are the same, they are not read again."""
    link_of: str | None = None
    """The original photo that the file is a hard link of."""

    @staticmethod
    def describe(path: Path, by: str, sha256: str | None = None, link_of: str | None = None) -> MadeFile:
        """Describe the file as it is now. It is read unless its hash is given."""
        found = path.lstat()
        mtime_ns = found.st_mtime_ns if is_photo(path.name) else None
        return MadeFile(by, found.st_size, sha256 or sha256_of(path), mtime_ns, link_of)

    def is_still(self, path: Path) -> bool:
        """Whether the file is still as it was written. For a hard link: whether the original still has its own name."""
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
    """The files that we made in one folder."""

    purposes: list[str] = field(default_factory=list)
    """All commands that ever wrote into the folder."""
    draft: str | None = None
    """The folder in which files are being written. Its content after a crash is ours."""
    folders: list[str] = field(default_factory=list)
    files: dict[str, list[MadeFile]] = field(default_factory=dict)
    """Relative path → the states in which the file may be; several only while files are being replaced."""

    def is_ours(self, root: Path, name: str) -> bool:
        """Whether the file of this name is listed, is still as it was written, and is not behind a symbolic link."""
        files = self.files.get(name, ())
        return any(file.is_still(root / name) for file in files) and not any(
            (root / folder).is_symlink() for folder in _with_outer(name.rpartition("/")[0])
        )

    @staticmethod
    def read(root: Path) -> MadeList | None:
        """Read the list of a folder; None if the folder has none.

        Raises:
            StorageError: a file of this name exists, but is not a list of ours, or is from a later version.
        """
        path = root / LIST
        if not os.path.lexists(path):
            return None
        try:
            if path.is_symlink():
                raise ValueError("it is a symbolic link")
            plain = orjson.loads(path.read_bytes())
            if (plain["made_by"], plain["format"]) != ("agar_pipeline", _FORMAT):
                raise ValueError("it has another format")
            files = {_inside(name): [MadeFile(**file) for file in files] for name, files in plain["files"].items()}
            folders = [_inside(name) for name in plain["folders"]]
            draft = None if plain["draft"] is None else _inside(plain["draft"])
            return MadeList(list(plain["purposes"]), draft, folders, files)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StorageError(
                f"cannot be understood ({error}), but it must list the files that agar wrote into the folder",
                where=path,
                next_step=remedy("write to another folder", option="give --out-dir another folder")
                + ", or put the file back",
            ) from error

    def write(self, root: Path) -> None:
        """Replace the list of a folder by a rename."""
        plain: dict[str, Any] = {"made_by": "agar_pipeline", "format": _FORMAT, **asdict(self)}
        part = root / _PART
        with contextlib.suppress(FileNotFoundError):
            if not _begins_as_ours(part):
                raise StorageError(
                    "is in the way, and was not written by agar",
                    where=part,
                    next_step="move it away, or "
                    + remedy("write to another folder", option="give --out-dir another folder"),
                )
            part.unlink()
        with part.open("xb") as stream:
            stream.write(orjson.dumps(plain))
        sync(part)
        part.replace(root / LIST)

    def remove(self, root: Path) -> None:
        (root / LIST).unlink()


def folders_of(names: Iterable[str]) -> list[str]:
    """Return the folders that contain files, outer ones first.

    >>> folders_of(["a/b/1.jpg"])
    ['a', 'a/b']
    """
    innermost = {name.rpartition("/")[0] for name in names}
    return sorted({folder for inner in innermost for folder in _with_outer(inner)}, key=lambda name: name.count("/"))


@cache
def _with_outer(folder: str) -> tuple[str, ...]:
    return tuple(str(each) for each in (PurePosixPath(folder), *PurePosixPath(folder).parents) if str(each) != ".")


def made_below(root: Path, by: str) -> set[Path]:
    """Return the files that a command wrote into a folder, or below it, and that are still as they were written.

    Raises:
        StorageError: a list cannot be read.
    """
    found = set()
    for listed in root.rglob(LIST):
        made = MadeList.read(listed.parent) or MadeList()
        own = [name for name, files in made.files.items() if any(file.by == by for file in files)]
        found |= {listed.parent / name for name in own if made.is_ours(listed.parent, name)}
    return found


def is_part_of_list(path: Path) -> bool:
    """Whether a file is the list, or the partly written list of a killed process."""
    return path.name in (LIST, _PART) and _begins_as_ours(path)


def _begins_as_ours(path: Path) -> bool:
    """Whether a file starts like a list; a shorter file may contain only the first bytes of that."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as stream:
        found = stream.read(len(_START))
    return found == _START[: len(found)]


def _inside(name: str) -> str:
    """Return a path if it stays inside the folder; otherwise raise ValueError."""
    if not name or "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name!r} leads out of the folder")
    return name
