"""Where a snapshot is taken from: FiftyOne, or COCO files.

Here: the choice. Not here: reading either (`fiftyone_io`, `coco_folder`), each of which is imported only where it is
meant: what reads COCO files needs neither FiftyOne nor a driver of its database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from agar_pipeline.config import CocoSnapshotConfig, SnapshotConfig, SnapshotSource
from agar_pipeline.snapshot_files.content_hash import Observation as Observation


def observe_source(config: SnapshotSource, home: Path) -> Observation:
    """What the data is right now.

    Raises:
        PipelineError: see `observe_dataset` and `observe_folder`.
    """
    if isinstance(config, CocoSnapshotConfig):
        from agar_pipeline.snapshots.coco_folder import observe_folder

        return observe_folder(config, home)
    from agar_pipeline.fiftyone_io.reading.observe import observe_dataset

    return observe_dataset(config, home)


def read_source(
    config: SnapshotSource, home: Path, out_dir: Path, log: Callable[[str], None], just_observed: str | None = None
) -> str:
    """Write a snapshot's files; returns the version that was read.

    Raises:
        PipelineError: see `read_snapshot` and `read_folder`.
    """
    if isinstance(config, CocoSnapshotConfig):
        from agar_pipeline.snapshots.coco_folder import read_folder

        return read_folder(config, home, out_dir, log, just_observed)
    from agar_pipeline.fiftyone_io.reading.read import read_snapshot

    return read_snapshot(config, home, out_dir, log, just_observed)


def known_photos(config: SnapshotConfig, home: Path) -> list[str]:
    """The photos of all datasets in the database of a source.

    Raises:
        PipelineError: see `read_photo_paths`.
    """
    from agar_pipeline.fiftyone_io.reading.photo_paths import read_photo_paths

    return read_photo_paths(config.database, home)


def hold_source(config: SnapshotSource, home: Path) -> contextlib.AbstractContextManager[object]:
    """Keeps up what looking again would have to start."""
    if isinstance(config, CocoSnapshotConfig):
        return contextlib.nullcontext()
    from agar_pipeline.fiftyone_io.database.connection import open_database

    return open_database(config.database, home)
