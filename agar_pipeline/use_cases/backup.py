"""Saves a home into one file, and restores it; labels are the most important part.

Here: what a backup contains, and where it is restored to. Not here: the file (`backup_file`), reading and filling a
database (`database.dump`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, MANIFEST
from agar_pipeline.config import SnapshotConfig, configs_dir, load_pipeline
from agar_pipeline.errors import PipelineError, StorageError
from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.fiftyone_io.database.dump import dump_database, restore_database
from agar_pipeline.fiftyone_io.database.dump_conflicts import find_conflicts
from agar_pipeline.files import disk, locks
from agar_pipeline.ownership.home import open_home, require_own
from agar_pipeline.ownership.scratch_folders import scratch_folder
from agar_pipeline.progress import Log
from agar_pipeline.store import Key, Store, find_faults
from agar_pipeline.store.key import use_lock, writer_lock
from agar_pipeline.store.verify import targets_of
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.secrets import mask
from agar_pipeline.use_cases.backup_file import Writer, remove_unfinished, unpack, write_backup

LARGE = frozenset({"coco_cache", "training_run", "label_review"})
"""Assets of which only the manifests are saved unless everything is asked for: they hold images and checkpoints."""
_SHOWN = 5
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Saved:
    """What was saved to a backup, or restored from one."""

    datasets: tuple[str, ...]
    artifacts: int
    documents: int
    """Number of database documents that a restore inserted; 0 for a backup."""
    notes: tuple[str, ...]
    """What was not saved or not restored."""


def back_up(path: Path, store: Store, log: Log, *, everything: bool = False) -> Saved:
    """Save a home into a new file.

    Args:
        path: Path of the file; it must not exist, and must lie outside the home.
        everything: Save the files of COCO caches and trainings too, with images and checkpoints.

    Raises:
        StorageError: the file exists, or cannot be written.
        DatabaseError: the database cannot be read, or somebody keeps writing to it.
    """
    require_own(store.home)
    if path.parent.resolve().is_relative_to(store.home.resolve()):
        raise StorageError(
            "lies in the home that it would save, and would be lost with it",
            where=path,
            next_step="give a path outside the home, best on another disk",
        )
    if not path.parent.is_dir():
        raise StorageError(
            "is not a folder, so no backup can be written there",
            where=path.parent,
            next_step=f"make it first (mkdir -p {quote(str(path.parent))}), or give a path in another folder",
        )
    remove_unfinished(path)
    datasets: list[str] = []
    counted = [0]

    def fill(writer: Writer) -> dict[str, Any]:
        datasets.extend(_add_database(writer, store.home, log))
        counted[0] = _add_artifacts(writer, store, everything)
        if not datasets and not counted[0]:
            raise StorageError(
                "holds nothing to save, so no backup was written",
                where=f"the home {store.home}",
                next_step="set AGAR_HOME to the home that you want to save",
            )
        _add_configs(writer)
        return {
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "agar_pipeline": metadata.version("agar_pipeline"),
            "datasets": datasets,
            "latest": {str(key): name for key, name in targets_of(store).items()},
        }

    write_backup(path, fill)
    return Saved(tuple(datasets), counted[0], 0, tuple(_elsewhere()))


def _add_database(writer: Writer, home: Path, log: Log) -> list[str]:
    if not (home / "fiftyone" / "db" / "WiredTiger").exists():
        return []
    log("reading the database")
    with scratch_folder(home, "backup-") as scratch:
        folder = scratch / "database"
        folder.mkdir()
        with open_database("embedded", home) as uri:
            datasets = dump_database(uri, folder)
        for path in sorted(folder.iterdir()):
            writer.add(f"database/{path.name}", path)
    return datasets


def _add_artifacts(writer: Writer, store: Store, everything: bool) -> int:
    count = 0
    for key in store.assets():
        for root in store.roots(key):
            if not (root / MANIFEST).exists():
                continue
            place = root.relative_to(store.home).as_posix()
            with locks.locked(use_lock(root), shared=True):
                if find_faults(root, thorough=True, foreign=False):
                    continue  # damaged: `agar verify` reports it
                if key.asset in LARGE and not everything:
                    writer.add(f"manifests/{place}.json", root / MANIFEST)
                    continue
                for name in [*(file["path"] for file in key.kind.open(root).manifest.files), MANIFEST]:
                    writer.add(f"{place}/{name}", root / name)
            count += 1
    return count


def _add_configs(writer: Writer) -> None:
    """Add the config files as text without passwords; they are for people to read, not to be restored."""
    for group in ("pipeline", "experiment"):
        for path in sorted((configs_dir() / group).glob("*.yaml")):
            writer.add(f"configs/{group}/{path.name}", mask(path.read_text(errors="replace")).encode())


def _elsewhere() -> Iterator[str]:
    """Return a note for each pipeline whose dataset is in another database than the home's."""
    for path in sorted((configs_dir() / "pipeline").glob("*.yaml")):
        with contextlib.suppress(PipelineError):
            source = load_pipeline(path.stem).snapshot
            if isinstance(source, SnapshotConfig) and source.database != "embedded":
                where = "your own FiftyOne" if source.database == "fiftyone" else mask(source.database)
                yield f"dataset {source.dataset!r} of {path.name} is in {where}, and not saved: save it with mongodump"


def restore(path: Path, store: Store, log: Log) -> Saved:
    """Restore a backup into a home; identical content that exists already is kept.

    Raises:
        StorageError: the file is damaged or no backup, the home cannot be written, or it has other data where the
            backup's labels belong (then nothing was restored).
        DatabaseError: see `open_database` and `restore_database`.
    """
    home = open_home(store.home)
    with locks.locked(home / ".restore.lock"), scratch_folder(home, "restore-") as scratch:
        log(f"reading {path}")
        index = unpack(path, scratch)
        documents = _restore_database(scratch / "database", home, path, log)
        artifacts, notes = _restore_artifacts(scratch / "artifacts", store)
        for key, name in dict(index.get("latest", {})).items():
            _point(store, str(key), str(name))
        notes += _restore_texts(scratch, home, str(index.get("created_at", "")))
    return Saved(tuple(map(str, index.get("datasets", ()))), artifacts, documents, tuple(notes))


def _restore_database(folder: Path, home: Path, path: Path, log: Log) -> int:
    if not folder.is_dir():
        return 0
    with open_database("embedded", home, may_create=True) as uri:
        conflicts = find_conflicts(uri, folder)
        if conflicts:
            raise StorageError(
                "already holds data that differs from the backup, so nothing was restored: "
                f"{name_some(conflicts, _SHOWN)}",
                where=f"the home {home}",
                next_step="keep both, by restoring the backup into a home of its own: "
                f"AGAR_HOME={quote(str(_free_place(home)))} agar backup --restore {quote(str(path))}",
            )
        log("filling the database")
        return restore_database(uri, folder)


def _free_place(home: Path) -> Path:
    names = (f"{home.name}-restored{number}" for number in ("", *range(2, 1000)))
    return next(place for place in map(home.with_name, names) if not os.path.lexists(place))


def _restore_artifacts(folder: Path, store: Store) -> tuple[int, list[str]]:
    """Publish each intact artifact that does not exist yet; return their number, and notes on those left out."""
    count, notes = 0, []
    for manifest in sorted([*folder.glob(f"*/*/{MANIFEST}"), *folder.glob(f"*/*/*/{MANIFEST}")]):
        draft = manifest.parent
        *above, name = draft.relative_to(folder).parts
        key = Key(above[-1], above[0] if len(above) == 2 else None)
        known = key.asset in ARTIFACTS and key.kind.in_experiment == (key.experiment is not None)
        if not known or not _FINGERPRINT.fullmatch(name) or find_faults(draft, thorough=True):
            notes.append(f"{'/'.join((*above, name))} of the backup is incomplete or not an artifact, and was left out")
            continue
        root = store.folder(key) / name
        root.parent.mkdir(parents=True, exist_ok=True)
        with locks.locked(writer_lock(root)):
            if not root.exists():
                disk.sync_tree(draft)
                draft.rename(root)
                disk.sync(root.parent)
                count += 1
    return count, notes


def _point(store: Store, word: str, name: str) -> None:
    *experiment, asset = word.split("/")
    if asset not in ARTIFACTS or len(experiment) > 1 or not _FINGERPRINT.fullmatch(name):
        return
    key = Key(asset, experiment[0] if experiment else None)
    link = store.folder(key) / "latest"
    if (store.folder(key) / name / MANIFEST).exists() and not os.path.lexists(link):
        link.symlink_to(name)


def _restore_texts(scratch: Path, home: Path, created: str) -> list[str]:
    """Put configs and manifests into a folder of the home, for people to read; the checkout is never changed."""
    notes = []
    place = home / "restored" / re.sub(r"[^0-9T]", "", created)[:15]
    for name in ("configs", "manifests"):
        if (scratch / name).is_dir() and not (place / name).exists():
            place.mkdir(parents=True, exist_ok=True)
            (scratch / name).rename(place / name)
            notes.append(f"{name} of the backup are in {place / name}")
    return notes
