"""Turns disk errors of any library into messages for the user: what failed, where, how much is free, the next step."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from agar_pipeline.errors import StorageError
from agar_pipeline.files.disk import show_bytes

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR})
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
"""SQLite's primary result code → the corresponding error number of the system."""
_SIGNS = {
    "PytorchStreamWriter failed": errno.ENOSPC,  # a checkpoint that could not be written
    "file write failed": errno.ENOSPC,
    "No space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}
_NO_ROOM_BYTES = 1_000_000
WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


def find_os_error(error: BaseException, *, causes_only: bool = False) -> OSError | None:
    """Find the disk error behind an exception: the exception itself, its cause, or the one before it.

    Args:
        error: An exception of any library. SQLite and torch report a full disk with their own exceptions.
        causes_only: Do not search exceptions that were only being handled when this one was raised.
    """
    seen: BaseException | None = error
    while seen is not None:
        if found := _as_os_error(seen):
            return found
        seen = seen.__cause__ or (None if causes_only else seen.__context__)
    return None


def _as_os_error(error: BaseException) -> OSError | None:
    if isinstance(error, OSError):
        return error if error.errno in FULL | REFUSED | WITHOUT_LOCKS else None
    if isinstance(error, sqlite3.Error):
        number = _OF_SQLITE.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)
        return OSError(number, f"SQLite says: {error}") if number else None
    return told_of(str(error)) if isinstance(error, RuntimeError) else None


def told_of(text: str) -> OSError | None:
    """Recognise a disk error by the text of a library's message, if the exception itself is not available."""
    number = next((number for sign, number in _SIGNS.items() if sign in text), None)
    return None if number is None else OSError(number, text.strip().splitlines()[0][:200])


def path_at_fault(error: OSError) -> Path | None:
    """Return the file that the error names; for a copy, the target."""
    named = error.filename2 or error.filename
    return Path(os.fsdecode(named)) if isinstance(named, str | bytes | os.PathLike) else None


def storage_error(error: OSError, place: Path, needed: str = "") -> StorageError:
    """Turn a disk error into a message for the user: what failed, where, how much is free, the next step.

    Args:
        error: As found by `find_os_error`.
        place: What was being written, if the error does not name it.
        needed: The known or estimated space that it needs.
    """
    path = path_at_fault(error) or place
    there = _nearest(path)
    room = shutil.disk_usage(there).free
    if error.errno in FULL or (error.errno == errno.EIO and room < _NO_ROOM_BYTES):  # SQLite reports a full disk as EIO
        cause = "" if error.errno != errno.EDQUOT and error.errno != errno.EFBIG else f" ({error.strerror})"
        return StorageError(
            f"cannot be written, because no space is left{cause}: {f'{needed}; ' if needed else ''}"
            f"{show_bytes(room)} are free; what was there before is intact",
            where=path,
            next_step="free some space (`agar clean`), or set AGAR_HOME to a larger disk",
        )
    if error.errno in WITHOUT_LOCKS:
        return StorageError(
            f"is on a file system without locks ({error.strerror})",
            where=path,
            next_step="set AGAR_HOME to a local disk",
        )
    return StorageError(
        f"cannot be read or written: {error.strerror}{_owner_words(there)}",
        where=path,
        next_step="check the disk and its permissions, or set AGAR_HOME to a folder that you can write",
    )


def _nearest(path: Path) -> Path:
    """Return the path itself, or its innermost parent that exists and can be read."""
    for place in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            place.stat()
            return place
    return Path("/")


def _owner_words(place: Path) -> str:
    owner = place.stat().st_uid
    if owner == os.geteuid():
        return ""
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"user {owner}"
    return f"; {place} belongs to {name}"


@contextlib.contextmanager
def clear_storage_errors(place: Path, needed: Callable[[], str] = str) -> Iterator[None]:
    """Replace exceptions about full, broken or forbidden storage, also those of SQLite and torch, by a StorageError."""
    try:
        yield
    except (OSError, sqlite3.Error, RuntimeError) as error:
        found = find_os_error(error)
        if found is None:
            raise
        raise storage_error(found, place, needed()) from found
