"""Scratch folders in a home: each is listed in a file beside it, and only listed ones of dead processes are swept."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from agar_pipeline.files import disk, locks
from agar_pipeline.ownership.home import open_home

_LOCK = ".lock"
_LISTED = ".scratch-"
"""Prefix of the files that list scratch folders."""


@contextlib.contextmanager
def scratch_folder(home: Path, prefix: str) -> Iterator[Path]:
    """Yield a folder below `home/tmp` that is removed after the block, or by the next caller if the process dies."""
    parent = open_home(home) / "tmp"
    parent.mkdir(exist_ok=True)
    sweep_scratch(home)
    token = secrets.token_hex(16)
    folder, listed = parent / f"{prefix}{token[:8]}", parent / f"{_LISTED}{prefix}{token[:8]}"
    with locks.locked(parent / _LOCK):  # no other process sees a folder without its lock
        listed.write_text(token)
        folder.mkdir(mode=0o700)
        held = locks.acquire(folder / _LOCK)
        (folder / _LOCK).write_text(token)
    assert held is not None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        disk.remove(listed)
        os.close(held)


def sweep_scratch(home: Path) -> list[Path]:
    """Remove the scratch folders of dead processes: those that are listed and contain the token in their list file."""
    swept: list[Path] = []
    parent = home / "tmp"
    if not parent.is_dir():
        return swept
    with locks.locked(parent / _LOCK):
        for listed in parent.glob(f"{_LISTED}*"):
            folder = parent / listed.name.removeprefix(_LISTED)
            with contextlib.suppress(FileNotFoundError):  # its owner may be removing it
                if not folder.is_symlink() and _is_dead(folder, listed.read_text()):
                    shutil.rmtree(folder, ignore_errors=True)
                    swept.append(folder)
                if not folder.exists():
                    disk.remove(listed)
    return swept


def _is_dead(folder: Path, token: str) -> bool:
    lock = folder / _LOCK
    if not lock.is_file():
        return folder.is_dir() and not any(folder.iterdir())  # the owner died between creating the folder and its lock
    if lock.read_text() not in (token, ""):  # empty: the owner died before the token was written
        return False
    with locks.free(lock) as is_free:
        return is_free
