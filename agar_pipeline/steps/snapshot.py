"""`snapshot`: the images and boxes of a FiftyOne dataset or view, frozen into Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from agar_pipeline.config import SnapshotConfig, agar_home


def build(
    config: SnapshotConfig,
    out_dir: Path,
    log: Callable[[str], None],
    home: Path | None = None,
    just_observed: str | None = None,
) -> None:
    """Write a snapshot's files into `out_dir`; `home` holds the embedded database.

    Raises:
        DatabaseError, DatasetError, ImageFileError: see `agar_pipeline.fiftyone_io.read.read_snapshot`.
    """
    from agar_pipeline.fiftyone_io.read import read_snapshot

    version = read_snapshot(config, home or agar_home(), out_dir, log, just_observed)
    path = out_dir / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "source_version": version}, indent=1))
