"""Recognises files that must not be lost: the photos of a dataset, and the inputs of the command that writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

AnyPath = str | os.PathLike[str]


class Originals:
    """Original files, identified by device and inode with symbolic links followed, or by real path if absent."""

    def __init__(self, paths: Iterable[AnyPath] = ()) -> None:
        self._by_identity: dict[tuple[int, int], list[str]] = {}
        self._absent: set[str] = set()
        for path in paths:
            try:
                found = Path(path).stat()
            except (OSError, ValueError):
                self._absent.add(os.path.realpath(path))
            else:
                self._by_identity.setdefault((found.st_dev, found.st_ino), []).append(os.fspath(path))

    def name_of(self, path: AnyPath) -> str | None:
        """Return the original that is the same file as this one, under any name; None if there is none."""
        found = Path(path).stat()
        return next(iter(self._by_identity.get((found.st_dev, found.st_ino), ())), None)

    def hit_by(self, path: AnyPath) -> str | None:
        """Return the original that would be lost if the file of this name were replaced or removed, or None.

        A hard link of an original is not returned, because the original keeps its own name.
        """
        if self._absent and os.path.realpath(path) in self._absent:
            return os.fspath(path)
        try:
            found = os.lstat(path)
        except OSError:
            return None
        names = self._by_identity.get((found.st_dev, found.st_ino), ())
        return next((name for name in names if not is_another_name(path, name)), None)


def is_another_name(path: AnyPath, other: AnyPath) -> bool:
    """Whether two paths are certainly two hard links of one file, so that removing one keeps the other.

    The answer is no if one entry of one folder is seen through two mounts.
    """
    try:
        here, there = os.lstat(path), os.lstat(other)
        if stat.S_ISLNK(there.st_mode):
            other = os.path.realpath(other)
            there = os.lstat(other)
        if here.st_nlink < 2 or not os.path.samestat(here, there):
            return False
        folder, name = os.path.split(path)
        other_folder, other_name = os.path.split(other)
        return name != other_name or not os.path.samestat(Path(folder).stat(), Path(other_folder).stat())
    except OSError:
        return False
