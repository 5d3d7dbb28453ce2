"""Writes `image_ids.parquet`: the ids of the images, and only those columns that the split reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class ImageColumns:
    """Columns for the split, aligned with the samples of the source in order of their ids."""

    values: dict[str, list[Any]]
    """`field:PATH` → text or None; `view:SPEC` → bool."""
    tags_digest: str
    """SHA-256 of the tags of all samples, including tags that no column reads."""

    def version(self, content_version: str) -> str:
        """Return the data version of the content together with columns and tags.

        Changing a tag that no column reads changes the version of the dataset but not the snapshot: the snapshot step
        runs again, its content is the same, and later steps are not rebuilt.
        """
        plain = json.dumps([content_version, self.values, self.tags_digest], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()


def write_image_ids(image_columns: Sequence[str], out_dir: Path, columns: ImageColumns) -> None:
    """Write `image_ids.parquet` with the ids and exactly the `image_columns` of a config."""
    own = [name for name in image_columns if name in ("path", "sha256", "labelled")]
    table = pq.read_table(out_dir / "images.parquet", columns=["image_id", "sample_id", *own])
    if "labels" in image_columns:
        table = table.append_column("labels", _labels_per_image(out_dir, table["image_id"]))
    for name, values in columns.values.items():
        kind = pa.string() if name.startswith("field:") else pa.bool_()
        table = table.append_column(name, pa.array(values, kind))
    pq.write_table(table, out_dir / "image_ids.parquet")


def _labels_per_image(out_dir: Path, image_ids: Any) -> Any:
    labels: dict[int, list[str]] = {image_id: [] for image_id in image_ids.to_pylist()}
    boxes = pq.read_table(out_dir / "boxes.parquet", columns=["image_id", "label"])
    pairs = boxes.drop_null().group_by(["image_id", "label"]).aggregate([]).sort_by([("label", "ascending")])
    for image_id, label in zip(pairs["image_id"].to_pylist(), pairs["label"].to_pylist(), strict=True):
        labels[image_id].append(label)
    return pa.array(list(labels.values()), pa.list_(pa.string()))
