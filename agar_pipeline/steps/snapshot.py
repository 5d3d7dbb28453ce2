"""snapshot: writes the images and boxes of a FiftyOne dataset or view, or of COCO files, to Parquet files."""

from __future__ import annotations

import json
from pathlib import Path

from agar_pipeline.config import SnapshotSource, agar_home
from agar_pipeline.progress import Log
from agar_pipeline.snapshots.sources import read_source


def build(
    config: SnapshotSource,
    out_dir: Path,
    log: Log,
    home: Path | None = None,
    just_observed: str | None = None,
) -> None:
    """Write a snapshot's files into `out_dir`; `home` holds the embedded database.

    Raises:
        PipelineError: see `read_snapshot` and `read_folder`.
    """
    version = read_source(config, home or agar_home(), out_dir, log, just_observed)
    path = out_dir / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "source_version": version}, indent=1))
