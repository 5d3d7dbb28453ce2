"""Folders and files that no other user can open: owner, kind and mode are checked, and a link is never followed.

Here: making them, tightening our own, refusing those of others, and locking. Not here: what is in them.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from agar_pipeline.errors import StorageError

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS = 0o077
_LINK = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})


def private_folder(path: Path) -> Path:
    """The folder, made where it is missing, of mode 0700; one of ours that others can read is tightened.

    Raises:
        StorageError: it belongs to another user, is a link or no folder, or its mode cannot be set.
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return require_private_folder(path)


def require_private_folder(path: Path) -> Path:
    """As `private_folder`, for one that must be there already.

    Raises:
        FileNotFoundError: it is not.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _LINK:
            raise StorageError(f"{path} is a link or a file, not a folder of ours: remove it, then try again") from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise _foreign(path, path.lstat().st_uid) from None
        raise
    try:
        _tighten(descriptor, path, FOLDER_MODE)
    finally:
        os.close(descriptor)
    return path


def open_private(path: Path, *, create: bool = True) -> IO[str]:
    """The file for reading and writing, made where it is missing, of mode 0600; its content stays.

    Raises:
        StorageError: it belongs to another user, is a link, or no ordinary file.
        FileNotFoundError: it is not there, and not to be made.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except OSError as error:
        if error.errno in _LINK:
            raise StorageError(f"{path} is a link, which is not followed: remove it, then try again") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageError(f"{path} is no ordinary file: remove it, then try again")
        _tighten(descriptor, path, FILE_MODE)
        return os.fdopen(descriptor, "r+")
    except BaseException:
        os.close(descriptor)
        raise


def _tighten(descriptor: int, path: Path, mode: int) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise _foreign(path, found.st_uid)
    if found.st_mode & _OTHERS:
        os.fchmod(descriptor, mode)
        if os.fstat(descriptor).st_mode & _OTHERS:
            raise StorageError(
                f"other users can open {path}, and its file system does not keep modes\n"
                "set AGAR_HOME to a folder on a local disk"
            )


def _foreign(path: Path, owner: int) -> StorageError:
    return StorageError(
        f"{path} belongs to another user (uid {owner}, you are {os.geteuid()}), who could change what is in it\n"
        "set AGAR_HOME to a folder of your own"
    )
