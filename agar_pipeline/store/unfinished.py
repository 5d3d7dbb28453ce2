"""Work that outlives its process: what the next builder of the same fingerprint goes on with.

`resume/<asset>/<fingerprint>/` in the home, beside the artifacts, in a form that only the step knows.
"""

from __future__ import annotations

from pathlib import Path

from agar_pipeline import disk
from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.store.folders import Store
from agar_pipeline.store.key import Key, writer_lock


def work_folder(store: Store, key: Key, fingerprint: str) -> Path:
    """Where the builder of this artifact leaves what it has so far; it may not exist."""
    return store.home.joinpath("resume", *key.parts, fingerprint)


def unfinished(store: Store) -> dict[Key, list[Path]]:
    """The work folders of each asset, newest first."""
    found: dict[Key, list[Path]] = {}
    for folder in (store.home / "resume").glob("*/*/*"):
        experiment, asset = folder.parts[-3:-1]
        if asset in ARTIFACTS and folder.is_dir():
            found.setdefault(Key(asset, experiment), []).append(folder)
    return {key: sorted(folders, key=_age_key, reverse=True) for key, folders in found.items()}


def _age_key(folder: Path) -> int:
    return max((path.stat().st_mtime_ns for path in folder.glob("*")), default=0)


def drop_work(store: Store, folder: Path) -> bool:
    """Remove a work folder unless somebody works in it; returns whether it is gone."""
    key = Key(folder.parts[-2], folder.parts[-3])
    if not store.folder(key).is_dir():
        disk.remove(folder)
        return True
    with disk.free(writer_lock(store.folder(key) / folder.name)) as is_free:
        if is_free:
            disk.remove(folder)
    return is_free
