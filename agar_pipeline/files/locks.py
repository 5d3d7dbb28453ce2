"""Locks on files, which end with the process that holds them, whatever ends it."""

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
    """Lock a file, made where it is missing; the kernel frees it with the process, or when the descriptor is closed.

    Returns:
        The descriptor that holds the lock; None where another process holds it and `wait` is False.
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
        os.close(descriptor)  # whoever held it removed it: others lock the new file of this name


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock for the length of the block; `on_wait` is called where another process must end first."""
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
    """Whether no process holds any of these locks; where none does, all are ours for the length of the block."""
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
    """Nobody else of ours writes into the folder during the block; without locks on its disk, nothing is held."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_within(file: IO[str], seconds: float, *, shared: bool = False) -> bool:
    """Whether the lock on an open file could be had in this time; it is free again when the file is closed."""
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
