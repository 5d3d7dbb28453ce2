"""Computes the data version of a dataset's content: a hash of the columns of all batches and of the image files.

The version does not depend on the folder of the images, on the sizes of the batches, or on the ids of the labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from agar_pipeline.snapshot_files.source_columns import Columns


@dataclass(frozen=True)
class ObservedData:
    """The observed state of a dataset or view."""

    version: str
    """Hash of samples, boxes and image files; independent of times, hosts, absolute paths and label ids."""
    samples: int
    boxes: int
    notice: str | None = None
    """A warning about the database's version, in one line; it does not block anything."""


@dataclass
class ContentHash:
    """Computes the version over all batches, with one hash per column, so that the sizes of batches do not matter."""

    samples: int = 0
    boxes: int = 0
    unlabelled: int = 0
    """Number of samples that nobody has labelled."""
    _digests: dict[str, Any] = field(default_factory=dict)

    def update(self, columns: Columns, sha256_of_files: Sequence[str | None]) -> None:
        self.samples += len(columns.sample_ids)
        self.boxes += len(columns.boxes.labels)
        for name in ("sample_ids", "paths"):
            self._add_texts(name, getattr(columns, name))
        for name in ("labels", "attributes"):
            self._add_texts(name, getattr(columns.boxes, name))
        self._add("sizes", columns.sizes_wh)
        self._add("counts", columns.boxes_per_sample)
        self._add(
            "boxes", columns.boxes.boxes_rel_xywh if columns.boxes.boxes_xywh is None else columns.boxes.boxes_xywh
        )
        self._add("iscrowd", columns.boxes.iscrowd)
        if not columns.labelled.all():
            ids = columns.sample_ids.filter(pa.array(~columns.labelled)).to_pylist()
            self.unlabelled += len(ids)
            self._add("unlabelled", "".join(f"{sample_id}\n" for sample_id in ids).encode())
        self._add("files", "".join(f"{sha256}\n" for sha256 in sha256_of_files).encode())

    def version(self) -> str:
        whole = hashlib.sha256(b"snapshot content 2\n")
        for name in sorted(self._digests):
            whole.update(name.encode() + self._digests[name].digest())
        return whole.hexdigest()

    def _add_texts(self, name: str, texts: pa.Array) -> None:
        validity, offsets, content = texts.buffers()
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        lengths = np.diff(ends).astype(np.int64)
        if texts.null_count:  # read from the bitmap, because pyarrow's own conversions would load pandas
            valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[texts.offset :]
            lengths[valid[: len(texts)] == 0] = -1
        self._add(f"{name} lengths", lengths)
        self._add(name, memoryview(content or b"")[ends[0] : ends[-1]])

    def _add(self, name: str, content: Any) -> None:
        if isinstance(content, np.ndarray):
            content = np.ascontiguousarray(content).view(np.uint8).data
        self._digests.setdefault(name, hashlib.sha256()).update(content)
