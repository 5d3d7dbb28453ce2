"""Collects what a plan needs to know, without Dagster: how the dataset differs, and what Dagster has recorded.

Importing Dagster and its storage takes longer than the rest of a plan. So its records are cached beside its event log;
the cache is valid until a file of the log changes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import CocoCache, Manifest, Snapshot
from agar_pipeline.chain.plan import DagsterRecord
from agar_pipeline.config import SnapshotSource, agar_home, dagster_postgres_url
from agar_pipeline.files.disk import replace_file
from agar_pipeline.ownership.scratch_folders import scratch_folder
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Content, Key, describe_files

_EVENT_LOG = Path("dagster/storage/history/runs")
_MEMORY = Path("dagster/records.json")


def explain_source(config: SnapshotSource, latest: Path, source_version: str) -> tuple[list[str], Content]:
    """Say how the dataset differs from the latest snapshot; for this, take a snapshot into a temporary folder.

    Returns:
        The differences in words, and the content of the new snapshot.
    """
    with scratch_folder(agar_home(), "plan-") as folder:
        STEPS["snapshot"].build(config, folder, lambda text: None, just_observed=source_version)
        taken = [file for file in describe_files(folder) if file["path"] in Snapshot.files]
        content = Content.of_files(Snapshot, taken)
        changes = explain_change(Snapshot(latest), Snapshot(folder))
    return changes or ["the dataset changed, but nothing that the snapshot holds"], content


def explain_change(before: Snapshot, after: Snapshot) -> list[str]:
    """Say what differs between two snapshots, one phrase per kind of change; empty if they hold the same."""
    from agar_pipeline.snapshots.diff import SnapshotTables, diff_tables, summarize

    tables = [SnapshotTables(snapshot.images(), snapshot.boxes()) for snapshot in (before, after)]
    return summarize(diff_tables(*tables))


def explain_input(before: Path, after: Path) -> list[str]:
    """Say which images and boxes differ between two snapshots, or which images between two COCO caches."""
    if Manifest.read(after).asset == Snapshot.asset:
        return explain_change(Snapshot(before), Snapshot(after))
    if not all((root / "photos.parquet").exists() for root in (before, after)):  # not a COCO cache, or an older one
        return []
    from agar_pipeline.snapshots.photo_changes import summarize_photos

    return summarize_photos(CocoCache(before).photos(), CocoCache(after).photos())


def recall_records(home: Path) -> dict[Key, DagsterRecord] | None:
    """Return the cached records of Dagster; None if its event log has changed since they were written."""
    try:
        plain = json.loads((home / _MEMORY).read_text())
        if (state := state_of_log(home)) is None or plain["log"] != state:
            return None
        return {Key(*key): DagsterRecord(**record) for key, record in plain["records"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # an unreadable cache is no error: the caller reads the log instead


def remember_records(home: Path, records: Mapping[Key, DagsterRecord], state_before: Any) -> None:
    """Cache records read from the event log; `state_before` is the state of the log before they were read."""
    if state_before is None:
        return
    plain = {
        "log": state_before,
        "records": [[[key.asset, key.experiment], dataclasses.asdict(record)] for key, record in records.items()],
    }
    replace_file(home / _MEMORY, json.dumps(plain))


def state_of_log(home: Path) -> list[list[Any]] | None:
    """Return name, size, times and inode of each file of the event log, and of the `dagster.yaml` that locates it.

    The `.db-shm` files are left out: they are shared memory of the readers, no content. Returns None if the log is in
    Postgres; then it is read each time.
    """
    if dagster_postgres_url() is not None:
        return None
    files = sorted(path for path in (home / _EVENT_LOG).glob("index.db*") if path.suffix != ".db-shm")
    files += (home / "dagster").glob("dagster.yaml")
    stats = [(path.name, path.stat()) for path in files]
    return [[name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for name, stat in stats]
