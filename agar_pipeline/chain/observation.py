"""Looking at the world before anything runs, without Dagster: how the dataset differs, and what Dagster remembers.

Importing Dagster and its storage takes longer than all the rest of a plan. So what it remembers is kept beside its
event log, and holds for as long as not a byte of the log's files has changed.
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
from agar_pipeline.ownership.home import scratch_folder
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Content, Key, describe_files

_EVENT_LOG = Path("dagster/storage/history/runs")
_MEMORY = Path("dagster/records.json")


def explain_source(config: SnapshotSource, latest: Path, source_version: str) -> tuple[list[str], Content]:
    """How the dataset differs from the latest snapshot, by taking one now into a folder that is thrown away."""
    with scratch_folder(agar_home(), "plan-") as folder:
        STEPS["snapshot"].build(config, folder, lambda text: None, just_observed=source_version)
        taken = [file for file in describe_files(folder) if file["path"] in Snapshot.files]
        content = Content.of_files(Snapshot, taken)
        changes = explain_change(Snapshot(latest), Snapshot(folder))
    return changes or ["the dataset changed, but nothing that the snapshot holds"], content


def explain_change(before: Snapshot, after: Snapshot) -> list[str]:
    """What differs between two snapshots, one phrase per kind of change; nothing where they hold the same."""
    from agar_pipeline.snapshots.diff import SnapshotTables, diff_tables, summarize

    tables = [SnapshotTables(snapshot.images(), snapshot.boxes()) for snapshot in (before, after)]
    return summarize(diff_tables(*tables))


def explain_input(before: Path, after: Path) -> list[str]:
    """Which photos and boxes differ between two snapshots, and which photos between two COCO caches."""
    if Manifest.read(after).asset == Snapshot.asset:
        return explain_change(Snapshot(before), Snapshot(after))
    if not all((root / "photos.parquet").exists() for root in (before, after)):  # no cache, or an older one
        return []
    from agar_pipeline.snapshots.photo_changes import summarize_photos

    return summarize_photos(CocoCache(before).photos(), CocoCache(after).photos())


def recall_records(home: Path) -> dict[Key, DagsterRecord] | None:
    """What Dagster remembers of each asset, or None where its event log has changed since that was written down."""
    try:
        plain = json.loads((home / _MEMORY).read_text())
        if (state := state_of_log(home)) is None or plain["log"] != state:
            return None
        return {Key(*key): DagsterRecord(**record) for key, record in plain["records"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is only a shortcut: the log itself is read instead


def remember_records(home: Path, records: Mapping[Key, DagsterRecord], state_before: Any) -> None:
    """Write down what was read from the event log, whose state was `state_before` when the reading began."""
    if state_before is None:
        return
    plain = {
        "log": state_before,
        "records": [[[key.asset, key.experiment], dataclasses.asdict(record)] for key, record in records.items()],
    }
    replace_file(home / _MEMORY, json.dumps(plain))


def state_of_log(home: Path) -> list[list[Any]] | None:
    """Name, size, times and inode of each file of the event log, and of the file that says where it is.

    The shared memory of its readers is not content. None where the log is in Postgres, which is asked each time.
    """
    if dagster_postgres_url() is not None:
        return None
    files = sorted(path for path in (home / _EVENT_LOG).glob("index.db*") if path.suffix != ".db-shm")
    files += (home / "dagster").glob("dagster.yaml")
    stats = [(path.name, path.stat()) for path in files]
    return [[name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for name, stat in stats]
