"""Folders and files that no other user can open: owner, kind and mode are checked, and links are not followed.

Here: creating them, tightening our own, refusing those of others, and locking. Not here: what they hold,
such as keys (`store.signing`).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from agar_pipeline.errors import ConfigError, StorageError
from agar_pipeline.text.safe_text import as_command

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS = 0o077
_LINK = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})


def private_folder(path: Path) -> Path:
    """Return the folder with mode 0700. It is created if missing; if other users can read it, its mode is changed.

    Raises:
        StorageError: it belongs to another user, is a link or not a folder, or its mode cannot be set.
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return require_private_folder(path)


def require_private_folder(path: Path) -> Path:
    """Check and tighten a folder as `private_folder` does, but do not create it.

    Raises:
        FileNotFoundError: it does not exist.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _LINK:
            raise StorageError(
                "is a link or a file, but must be a folder",
                where=path,
                next_step="look at it, remove it, then run the command again",
            ) from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise _foreign(path, path.lstat().st_uid) from None
        raise
    try:
        _tighten(descriptor, path, FOLDER_MODE)
    finally:
        os.close(descriptor)
    return path


def open_private(path: Path, *, create: bool = True) -> IO[str]:
    """Open a file of mode 0600 for reading and writing. It is created if missing, and not truncated.

    Raises:
        StorageError: it belongs to another user, is a link, or is not an ordinary file.
        FileNotFoundError: it does not exist and `create` is False.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except OSError as error:
        if error.errno in _LINK:
            raise StorageError(
                "is a link, which is not followed",
                where=path,
                next_step="look at it, remove it, then run the command again",
            ) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageError(
                "is not an ordinary file",
                where=path,
                next_step="look at it, remove it, then run the command again",
            )
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
                "can be opened by other users, because its file system does not keep modes",
                where=path,
                next_step="set AGAR_HOME to a folder on a local disk",
            )


def _foreign(path: Path, owner: int) -> StorageError:
    return StorageError(
        f"belongs to another user (uid {owner}, you are {os.geteuid()}), who could change what is in it",
        where=path,
        next_step="set AGAR_HOME to a folder of your own",
    )


def read_private(path: Path, what: str) -> bytes:
    """Read a file that holds a secret.

    Args:
        what: Name of the file in messages.

    Raises:
        ConfigError: the file cannot be read, belongs to another user, or other users may read or change it.
    """
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read()
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})",
            where=f"{what}: {path}",
            next_step="make this file with mode 0600, or name another one",
        ) from error
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"belongs to user {found.st_uid}, who could change it",
            where=f"{what}: {path}",
            next_step="copy it into a file of your own, and name that",
        )
    if found.st_mode & 0o077:
        raise ConfigError(
            "can be read or changed by other users",
            where=f"{what}: {path}",
            next_step=f"run `{as_command('chmod', '600', path)}`",
        )
    return content
