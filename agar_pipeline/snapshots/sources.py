"""Takes a snapshot from FiftyOne or from COCO files, as the config says.

Here: the choice. Not here: reading either (`fiftyone_io`, `coco_folder`).
Each reader is imported only when it is used, so that COCO files need neither FiftyOne nor a MongoDB driver.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from agar_pipeline.config import CocoSnapshotConfig, SnapshotSource
from agar_pipeline.progress import Log
from agar_pipeline.snapshot_files.content_hash import ObservedData as ObservedData


def observe_source(config: SnapshotSource, home: Path) -> ObservedData:
    """Return the version of the data as it is now.

    Raises:
        PipelineError: see `observe_dataset` and `observe_folder`.
    """
    if isinstance(config, CocoSnapshotConfig):
        from agar_pipeline.snapshots.coco_folder import observe_folder

        return observe_folder(config, home)
    from agar_pipeline.fiftyone_io.reading.observe import observe_dataset

    return observe_dataset(config, home)


def read_source(config: SnapshotSource, home: Path, out_dir: Path, log: Log, just_observed: str | None = None) -> str:
    """Write a snapshot's files, and return the version that was read.

    Raises:
        PipelineError: see `read_snapshot` and `read_folder`.
    """
    if isinstance(config, CocoSnapshotConfig):
        from agar_pipeline.snapshots.coco_folder import read_folder

        return read_folder(config, home, out_dir, log, just_observed)
    from agar_pipeline.fiftyone_io.reading.read import read_snapshot

    return read_snapshot(config, home, out_dir, log, just_observed)


def hold_source(config: SnapshotSource, home: Path) -> contextlib.AbstractContextManager[object]:
    """Keep the database running during the `with` block, so that later reads need not start it again."""
    if isinstance(config, CocoSnapshotConfig):
        return contextlib.nullcontext()
    from agar_pipeline.fiftyone_io.database.connection import open_database

    return open_database(config.database, home)
