"""Freezes a FiftyOne dataset or view into the Parquet files of a snapshot, read in batches directly from MongoDB."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError, DatasetMovedError
from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.fiftyone_io.reading.observe import (
    OpenSource,
    PassHash,
    look_again,
    look_through,
    open_source,
    resolver_in_child,
)
from agar_pipeline.fiftyone_io.reading.source import Resolve
from agar_pipeline.progress import Log
from agar_pipeline.snapshot_files.content_hash import ContentHash
from agar_pipeline.snapshot_files.image_ids import write_image_ids
from agar_pipeline.snapshot_files.image_sizes import ImageSizes
from agar_pipeline.snapshot_files.parquet_tables import (
    BOXES_SCHEMA,
    IMAGES_SCHEMA,
    LabelCounts,
    TableWriter,
    boxes_table,
    images_table,
)

ATTEMPTS = 3


def read_snapshot(config: SnapshotConfig, home: Path, out_dir: Path, log: Log, just_observed: str | None = None) -> str:
    """Write `images.parquet`, `boxes.parquet`, `image_ids.parquet` and `dataset.json`.

    Images are numbered 1…N in order of their sample ids; boxes are numbered 1…M in order of image and of position in
    the label field. Boxes are written as they are stored, unchecked; a missing number becomes NaN.

    Args:
        just_observed: The data version that was observed just before. If the version that is read is equal, the data
            did not change meanwhile, and the second pass is skipped.

    Returns:
        The data version that was read, as `observe_dataset` computes it.

    Raises:
        DatasetError: As `observe_dataset`, or the dataset changed during all attempts.
        ImageFileError: Photos are turned by EXIF and `config.exif` refuses them, or their boxes contradict it.
    """
    with open_database(config.database, home) as uri:
        return read_at(uri, config, home, out_dir, log, resolver_in_child(uri), just_observed)


def read_at(
    uri: str,
    config: SnapshotConfig,
    home: Path,
    out_dir: Path,
    log: Log,
    resolve: Resolve,
    just_observed: str | None = None,
) -> str:
    """Read from the database at `uri`, again if it changed meanwhile: a single mongod has no snapshot reads."""
    for attempt in range(1, ATTEMPTS + 1):
        with open_source(uri, config, home, resolve) as opened:
            if opened.notice and attempt == 1:
                log(opened.notice)
            with contextlib.suppress(DatasetMovedError):
                content_version, look = _write(opened, config, home, out_dir, log)
                columns = opened.image_columns()
                version = columns.version(content_version)
                if version == just_observed or (look == look_again(opened) and columns == opened.image_columns()):
                    write_image_ids(config.image_columns, out_dir, columns)
                    return version
        log(f"the dataset changed while it was read (attempt {attempt} of {ATTEMPTS})")
    raise DatasetError(
        f"changed each of the {ATTEMPTS} times that it was read",
        where=f"dataset {config.dataset!r}",
        next_step="run the command again when nobody edits the dataset or imports into it",
    )


def _write(opened: OpenSource, config: SnapshotConfig, home: Path, out_dir: Path, log: Log) -> tuple[str, PassHash]:
    """Write `images.parquet`, `boxes.parquet` and `dataset.json`; return their version and the hashes of the pass.

    Raises:
        DatasetMovedError: Samples were added or removed meanwhile.
    """
    content, look, labels = ContentHash(), PassHash(), LabelCounts()
    sizes = ImageSizes(config.exif)
    with (
        TableWriter(out_dir / "images.parquet", IMAGES_SCHEMA) as images_file,
        TableWriter(out_dir / "boxes.parquet", BOXES_SCHEMA) as boxes_file,
    ):
        images = boxes = 0
        for columns, files in look_through(opened, home, content, look, log):
            sizes_wh = sizes.settle(columns, files)
            images_file.write(images_table(columns, files, sizes_wh, images + 1))
            boxes_file.write(boxes_table(columns, sizes.place(columns, files, sizes_wh), images + 1, boxes + 1))
            labels.add(columns.boxes.labels)
            images, boxes = content.samples, content.boxes
    sizes.report(log)
    plain = {
        "dataset": config.dataset,
        "images_dir": opened.root,
        "images": images,
        "boxes": boxes,
        "unlabelled": content.unlabelled,
        "labels": labels.sorted(),
        **opened.description,
    }
    (out_dir / "dataset.json").write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    return content.version(), look
