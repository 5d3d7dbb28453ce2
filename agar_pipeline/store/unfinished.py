"""Work that outlives its process: what the next builder of the same fingerprint goes on with.

`resume/<experiment>/<asset>/<fingerprint>/` in the home, beside the artifacts: points to go on from, checkpoints, and
events for TensorBoard. By these names ours are known; whatever else lies there is somebody's and stays.
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
    """Where the builder of this artifact leaves what it has so far; it may not exist."""
    return store.home.joinpath("resume", *key.parts, fingerprint)


_OURS = re.compile(
    r"[ab]\.(pt|part|json|json\.part)|checkpoints/(best|last)\.(ckpt|part)|tensorboard/events\.out\.tfevents\.[^/]+"
)


def unfinished(store: Store) -> dict[Key, list[Path]]:
    """The work folders of each asset, newest first."""
    found: dict[Key, list[Path]] = {}
    for folder in (store.home / "resume").glob("*/*/*"):
        experiment, asset = folder.parts[-3:-1]
        if asset in ARTIFACTS and folder.is_dir() and len(foreign_work(folder)) < len(_names(folder)):
            found.setdefault(Key(asset, experiment), []).append(folder)
    return {key: sorted(folders, key=_age_key, reverse=True) for key, folders in found.items()}


def _age_key(folder: Path) -> int:
    return max((path.stat().st_mtime_ns for path in folder.glob("*")), default=0)


def foreign_work(folder: Path) -> list[str]:
    """Files of a work folder that somebody put there: not ours, and no system's."""
    return [name for name in _names(folder) if not _OURS.fullmatch(name) and not is_stray(name)]


def _names(folder: Path) -> list[str]:
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118
    return sorted(os.path.relpath(path, folder) for path in found)


def remove_work(folder: Path) -> list[str]:
    """Remove what is ours of a work folder, and the folder where nothing else is left; returns what is."""
    foreign = foreign_work(folder)
    for name in set(_names(folder)).difference(foreign):
        disk.remove(folder / name)
    for at, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # somebody's files are in it
            Path(at).rmdir()
    return foreign


def drop_work(store: Store, folder: Path) -> bool:
    """Remove a work folder of ours unless somebody works in it; returns whether it is gone."""
    key = Key(folder.parts[-2], folder.parts[-3])
    if not store.folder(key).is_dir():
        return not remove_work(folder)
    with locks.free(writer_lock(store.folder(key) / folder.name)) as is_free:
        return is_free and not remove_work(folder)
