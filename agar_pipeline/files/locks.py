"""Locks on files, which the kernel releases when the process that holds them ends for any reason."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_POLL_S = 0.02


def acquire(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Lock a file, which is created if it is missing. The kernel releases the lock when the descriptor is closed.

    Returns:
        The descriptor that holds the lock; None if another process holds it and `wait` is False.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, mode)
            if _is_still_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the previous holder removed the file: other processes lock the new file of this name


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock during the block. `on_wait` is called if another process holds it."""
    held = acquire(path, shared=shared, wait=False)
    if held is None:
        if on_wait is not None:
            on_wait()
        held = acquire(path, shared=shared)
    assert held is not None
    try:
        yield
    finally:
        os.close(held)


@contextlib.contextmanager
def free(*paths: Path) -> Iterator[bool]:
    """Yield whether no process holds any of these locks. If so, all of them are locked during the block."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            held = acquire(path, wait=False)
            if held is None:
                yield False
                return
            stack.callback(os.close, held)
        yield True


@contextlib.contextmanager
def locked_folder(root: Path) -> Iterator[None]:
    """Keep our other processes from writing into the folder during the block.

    Without locks on its disk, nothing is held.
    """
    descriptor = os.open(root, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_within(file: IO[str], seconds: float, *, shared: bool = False) -> bool:
    """Lock an open file; return whether that succeeded in this time. Closing the file releases the lock."""
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        time.sleep(_POLL_S)
