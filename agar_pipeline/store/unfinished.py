"""The files of an interrupted build, from which the next builder of the same fingerprint continues.

They lie in `resume/<experiment>/<asset>/<fingerprint>/` of the home: resume points, checkpoints, and events for
TensorBoard. Our files are recognised by name (`_OURS`); all other files there belong to the user and are kept.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.files import disk, locks
from agar_pipeline.ownership.home import is_stray
from agar_pipeline.store.folders import Store
from agar_pipeline.store.key import Key, writer_lock


def work_folder(store: Store, key: Key, fingerprint: str) -> Path:
    """Return where the builder of this artifact saves its progress; the folder may not exist."""
    return store.home.joinpath("resume", *key.parts, fingerprint)


_OURS = re.compile(
    r"(folds/\d+/)?([ab]\.(pt|part|json|json\.part)|checkpoints/(best|last)\.(ckpt|part)|metrics\.csv)"
    r"|tensorboard/events\.out\.tfevents\.[^/]+|folds/\d+\.ckpt"
)


def older_work(store: Store) -> list[tuple[Key, Path]]:
    """Return the work folders that `agar clean` removes: those of each asset but its newest."""
    found: dict[Key, list[Path]] = {}
    for folder in (store.home / "resume").glob("*/*/*"):
        experiment, asset = folder.parts[-3:-1]
        if asset in ARTIFACTS and folder.is_dir() and len(foreign_work(folder)) < len(_names(folder)):
            found.setdefault(Key(asset, experiment), []).append(folder)
    return [(key, folder) for key, of in found.items() for folder in sorted(of, key=_age_key, reverse=True)[1:]]


def _age_key(folder: Path) -> int:
    return max((path.stat().st_mtime_ns for path in folder.glob("*")), default=0)


def foreign_work(folder: Path) -> list[str]:
    """Return the files of a work folder that are neither ours nor a system's."""
    return [name for name in _names(folder) if not _OURS.fullmatch(name) and not is_stray(name)]


def _names(folder: Path) -> list[str]:
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118
    return sorted(os.path.relpath(path, folder) for path in found)


def remove_work(folder: Path) -> list[str]:
    """Remove our files from a work folder, and the folder if it is empty then; return the files that remain."""
    foreign = foreign_work(folder)
    for name in set(_names(folder)).difference(foreign):
        disk.remove(folder / name)
    for at, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty: it holds foreign files
            Path(at).rmdir()
    return foreign


def drop_work(store: Store, folder: Path) -> bool:
    """Remove a work folder unless a process uses it or it holds foreign files; return whether it is gone."""
    key = Key(folder.parts[-2], folder.parts[-3])
    if not store.folder(key).is_dir():
        return not remove_work(folder)
    with locks.free(writer_lock(store.folder(key) / folder.name)) as is_free:
        return is_free and not remove_work(folder)
