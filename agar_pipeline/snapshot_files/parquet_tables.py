"""Builds the tables of a snapshot from columns, and reads and writes them as Parquet."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agar_pipeline.snapshot_files.file_hashes import FileHashes
from agar_pipeline.snapshot_files.source_columns import Columns

ROW_GROUP = 25_000
"""Rows of a row group; it is fixed so that the sizes of a source's batches do not change the file."""
IMAGES_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("sample_id", pa.string()),
        ("path", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("labelled", pa.bool_()),
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
_TEXT_COLUMNS = ["label"]
"""Columns with dictionary encoding, because they have few distinct values."""


def images_table(columns: Columns, files: FileHashes, sizes_wh: np.ndarray, first_image_id: int) -> pa.Table:
    """Build a table with one row per sample; null for an unknown size or a missing file."""
    count = len(columns.paths)
    return pa.table(
        [
            np.arange(first_image_id, first_image_id + count, dtype=np.int64),
            columns.sample_ids,
            columns.paths,
            pa.array(sizes_wh[:, 0], mask=sizes_wh[:, 0] <= 0),
            pa.array(sizes_wh[:, 1], mask=sizes_wh[:, 1] <= 0),
            pa.array(files.size_bytes, mask=files.size_bytes < 0),
            pa.array(files.sha256, pa.string()),
            pa.array(columns.labelled, pa.bool_()),
        ],
        schema=IMAGES_SCHEMA,
    )


def read_images(path: Path, columns: list[str]) -> pa.Table:
    """Read columns of `images.parquet`; in files of older versions without `labelled`, all images count as labelled."""
    there = pq.read_schema(path).names
    table = pq.read_table(path, columns=[name for name in columns if name in there])
    if "labelled" in columns and "labelled" not in there:
        table = table.append_column("labelled", pa.array(np.ones(len(table), bool)))
    return table


def read_labels(path: Path) -> list[str]:
    """Return the sorted distinct labels of `boxes.parquet`."""
    found: set[str | None] = set()
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            found.update(file.read_row_group(group, ["label"])["label"].unique().to_pylist())
    return sorted(label for label in found if label is not None)


def boxes_table(columns: Columns, boxes_xywh: np.ndarray, first_image_id: int, first_box_id: int) -> pa.Table:
    """Build a table with one row per box, in pixels of the displayed photo."""
    per_sample = columns.boxes_per_sample
    image_ids = np.repeat(np.arange(first_image_id, first_image_id + len(per_sample), dtype=np.int64), per_sample)
    return pa.table(
        [
            np.arange(first_box_id, first_box_id + len(image_ids), dtype=np.int64),
            image_ids,
            columns.boxes.labels,
            *(np.ascontiguousarray(boxes_xywh[:, side]) for side in range(4)),
            columns.boxes.iscrowd,
            columns.boxes.attributes,
        ],
        schema=BOXES_SCHEMA,
    )


class LabelCounts:
    """Counts the boxes of each label.

    >>> counts = LabelCounts()
    >>> counts.add(pa.array(["b", "a", None, "b"]))
    >>> counts.sorted()
    {'a': 1, 'b': 2}
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, labels: pa.Array) -> None:
        for row in labels.drop_null().value_counts().to_pylist():
            self._counts[row["values"]] += row["counts"]

    def sorted(self) -> dict[str, int]:
        return dict(sorted(self._counts.items()))


class TableWriter:
    """Writes row groups of a fixed number of rows in a thread, while the caller prepares the next ones."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        dictionary = [name for name in _TEXT_COLUMNS if name in schema.names]
        self._file = pq.ParquetWriter(
            path, schema, compression="zstd", store_schema=False, use_dictionary=dictionary, write_statistics=False
        )
        self._waiting = schema.empty_table()
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._waiting.num_rows:
                self._submit(self._waiting)
            if self._writing is not None:
                self._writing.result()
        finally:
            self._pool.shutdown()
            self._file.close()

    def write(self, table: pa.Table) -> None:
        self._waiting = pa.concat_tables([self._waiting, table])
        while self._waiting.num_rows >= ROW_GROUP:
            self._submit(self._waiting.slice(0, ROW_GROUP))
            self._waiting = self._waiting.slice(ROW_GROUP)

    def _submit(self, table: pa.Table) -> None:
        if self._writing is not None:
            self._writing.result()
        self._writing = self._pool.submit(self._file.write_table, table, row_group_size=ROW_GROUP)
