"""A FiftyOne dataset or view, frozen into Parquet: read column by column, batch by batch, straight from Mongo."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agar_pipeline.config import SnapshotConfig, to_plain
from agar_pipeline.detection.boxes import rel_xywh_to_xywh
from agar_pipeline.errors import DatasetError, ImageFileError
from agar_pipeline.fiftyone_io.columns import Columns, ContentHash, decode, raw_batches
from agar_pipeline.fiftyone_io.database import open_database, own_service
from agar_pipeline.fiftyone_io.file_hashes import FileHashes, hash_files
from agar_pipeline.fiftyone_io.observe import CHILD, OpenSource, observe_again, open_source, resolver_in_child
from agar_pipeline.fiftyone_io.source import Resolve
from agar_pipeline.launch import run_child

ATTEMPTS = 3
ROW_GROUP = 100_000
IMAGES_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("sample_id", pa.string()),
        ("path", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("tags", pa.list_(pa.string())),
    ]
)
BOXES_SCHEMA = pa.schema(
    [
        ("box_id", pa.int64()),
        ("image_id", pa.int64()),
        ("label", pa.string()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("width", pa.float64()),
        ("height", pa.float64()),
        ("iscrowd", pa.bool_()),
        ("attributes", pa.string()),
    ]
)
Log = Callable[[str], None]


def read_snapshot(config: SnapshotConfig, home: Path, out_dir: Path, log: Log, just_observed: str | None = None) -> str:
    """Write `images.parquet`, `boxes.parquet` and `dataset.json`.

    Images are numbered 1…N in order of their sample ids, boxes 1…M in order of image and of the label field. Boxes are
    written as they are stored, unchecked: NaN where a number is missing.

    Args:
        config: Which samples and boxes.
        home: Holds the embedded database.
        out_dir: Receives the files.
        log: Told what is worth knowing.
        just_observed: The version seen a moment ago: where just that is read, nothing moved, and no second look is
            needed.

    Returns:
        The version that was read, as `observe_dataset` gives it.

    Raises:
        DatasetError: as `observe_dataset`; or the dataset kept changing.
        ImageFileError: the size of an image is known neither from its header nor from FiftyOne.
    """
    if own_service(config.database):
        request = {"do": "read", "config": to_plain(config), "home": str(home), "out_dir": str(out_dir)}
        return str(run_child(CHILD, request, log)["version"])
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
    """Read from the database at `uri`; again where the dataset moved meanwhile, as mongod alone has no snapshots."""
    for attempt in range(1, ATTEMPTS + 1):
        with open_source(uri, config, home, resolve) as opened:
            if opened.notice and attempt == 1:
                log(opened.notice)
            version = _write(opened, config, home, out_dir, log)
            if version is not None and (version == just_observed or version == observe_again(opened, config, home)):
                return version
        log(f"the dataset changed while it was read (attempt {attempt} of {ATTEMPTS})")
    raise DatasetError(
        f"dataset {config.dataset!r} kept changing while it was read, {ATTEMPTS} times: "
        "wait until nobody edits or imports, then try again"
    )


def _write(opened: OpenSource, config: SnapshotConfig, home: Path, out_dir: Path, log: Log) -> str | None:
    """Write all three files and return the version of what they hold; None where samples came or went meanwhile."""
    files = hash_files(opened.paths.absolute(), home)
    content = ContentHash()
    labels: Counter[str] = Counter()
    images = boxes = differing = 0
    with (
        _Writer(out_dir / "images.parquet", IMAGES_SCHEMA) as images_file,
        _Writer(out_dir / "boxes.parquet", BOXES_SCHEMA) as boxes_file,
    ):
        for batch in raw_batches(opened.samples, opened.source, opened.paths.root):
            content.update(batch)
            columns = decode(batch)
            rows = slice(images, images + len(columns.paths))
            if columns.paths != opened.paths.relative[rows]:
                return None
            sizes_wh, disagree = _sizes(columns, files, rows)
            differing += disagree
            images_file.write(_images_table(columns, files, rows, sizes_wh))
            boxes_file.write(_boxes_table(columns, sizes_wh, rows.start + 1, boxes + 1))
            labels.update(label for label in columns.labels if label is not None)
            images, boxes = rows.stop, boxes + len(columns.labels)
    if images != len(opened.paths.relative):
        return None
    if differing:
        log(f"{differing} images are of another size than FiftyOne's metadata says: the size in the file counts")
    plain = {
        "dataset": config.dataset,
        "images_dir": opened.paths.root,
        "images": images,
        "boxes": boxes,
        "labels": dict(sorted(labels.items())),
    }
    (out_dir / "dataset.json").write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    return content.version(files.sha256)


def _sizes(columns: Columns, files: FileHashes, rows: slice) -> tuple[np.ndarray, int]:
    """(S, 2) int64 sizes as displayed: the file's header is the truth, FiftyOne's metadata stands in for it.

    Also returned: the number of images where both are known and differ.
    """
    in_file = files.sizes_wh[rows]
    in_file_known = np.all(in_file > 0, axis=1)
    in_metadata_known = np.all(columns.sizes_wh > 0, axis=1)  # NaN is not
    unknown = np.flatnonzero(~in_file_known & ~in_metadata_known)
    if unknown.size:
        names = ", ".join(repr(columns.paths[row]) for row in unknown[:3])
        raise ImageFileError(
            f"{unknown.size} images cannot be read, not even their size: {names}\n"
            "replace the files, or take their samples out of the dataset or view"
        )
    metadata = np.where(in_metadata_known[:, None], columns.sizes_wh, 0).astype(np.int64)
    disagree = np.count_nonzero(in_file_known & in_metadata_known & np.any(in_file != metadata, axis=1))
    return np.where(in_file_known[:, None], in_file, metadata), int(disagree)


def _images_table(columns: Columns, files: FileHashes, rows: slice, sizes_wh: np.ndarray) -> pa.Table:
    return pa.table(
        [
            np.arange(rows.start + 1, rows.stop + 1, dtype=np.int64),
            columns.sample_ids,
            columns.paths,
            sizes_wh[:, 0],
            sizes_wh[:, 1],
            files.size_bytes[rows],
            files.sha256[rows],
            [[]] * len(columns.paths),  # no step reads tags: tagging a sample must not re-split the images
        ],
        schema=IMAGES_SCHEMA,
    )


def _boxes_table(columns: Columns, sizes_wh: np.ndarray, first_image_id: int, first_box_id: int) -> pa.Table:
    per_sample = columns.boxes_per_sample
    image_ids = np.repeat(np.arange(first_image_id, first_image_id + len(per_sample), dtype=np.int64), per_sample)
    boxes_xywh = rel_xywh_to_xywh(columns.boxes_rel_xywh, np.repeat(sizes_wh, per_sample, axis=0))
    return pa.table(
        [
            np.arange(first_box_id, first_box_id + len(image_ids), dtype=np.int64),
            image_ids,
            columns.labels,
            *(np.ascontiguousarray(boxes_xywh[:, side]) for side in range(4)),
            columns.iscrowd,
            columns.attributes,
        ],
        schema=BOXES_SCHEMA,
    )


class _Writer:
    """Writes row groups of a fixed number of rows: where the database cuts its batches must not change a byte."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pq.ParquetWriter(path, schema, compression="zstd", store_schema=False)
        self._waiting = schema.empty_table()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        if self._waiting.num_rows:
            self._file.write_table(self._waiting)
        self._file.close()

    def write(self, table: pa.Table) -> None:
        self._waiting = pa.concat_tables([self._waiting, table])
        while self._waiting.num_rows >= ROW_GROUP:
            self._file.write_table(self._waiting.slice(0, ROW_GROUP))
            self._waiting = self._waiting.slice(ROW_GROUP)
