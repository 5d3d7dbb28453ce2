"""What a split reads of the samples: values of fields, and which views hold them. Only what is asked for is looked at.

Kept apart from the content of a snapshot (`columns`), so that an edit of a field or tag that nobody reads is not seen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.source import Resolve, ResolvedSource, dataset_document, resolved_source, shorten

_SCALARS = {"StringField": "text", "BooleanField": "bool", "IntField": "int", "FloatField": "float"}


@dataclass(frozen=True)
class ImageColumns:
    """Columns aligned with the samples of the source, in order of their ids."""

    values: dict[str, list[Any]]
    """`field:PATH` → text or None; `view:SPEC` → bool."""
    tags_digest: str
    """Of the tags of all samples, read or not."""

    def version(self, content_version: str) -> str:
        """The version of the content together with columns and tags.

        A tag that nobody reads makes another version of the dataset, and no other snapshot: it is looked at again, and
        the chain stops there.
        """
        plain = json.dumps([content_version, self.values, self.tags_digest], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()


def column_stages(config: SnapshotConfig, database: Database, home: Path, resolve: Resolve) -> dict[str, list[Any]]:
    """Column → the Mongo stages that answer it: a field's value per sample, or the samples that a view holds.

    Raises:
        DatasetError: a field or saved view does not exist, or a field holds no plain value.
    """
    stages: dict[str, list[Any]] = {}
    for name in config.image_columns:
        kind, _, spec = name.partition(":")
        if kind == "field":
            path = _field_path(config, dataset_document(config, database), spec)
            stages[name] = [{"$project": {"value": f"${path}"}}]
        elif kind == "view" and spec.startswith("tag:") and spec != "tag:":
            stages[name] = [{"$match": {"tags": spec.removeprefix("tag:")}}, {"$project": {"_id": 1}}]
        elif kind == "view":
            view = dataclasses.replace(config, view=spec, image_columns=())
            stages[name] = [*resolved_source(view, database, home, resolve).stages, {"$project": {"_id": 1}}]
    return stages


def read_image_columns(samples: Collection, source: ResolvedSource, stages: Mapping[str, list[Any]]) -> ImageColumns:
    """Ask for each column, and look at the tags."""
    own = [*source.stages, {"$sort": {"_id": 1}}]
    tags = hashlib.sha256()
    for batch in samples.aggregate_raw_batches([*own, {"$project": {"_id": 0, "tags": 1}}], allowDiskUse=True):
        tags.update(batch)
    if not stages:
        return ImageColumns({}, tags.hexdigest())
    ids = [row["_id"] for row in samples.aggregate([*own, {"$project": {"_id": 1}}], allowDiskUse=True)]
    values: dict[str, list[Any]] = {}
    for name, asked in stages.items():
        before = own if name.startswith("field:") else []
        found = {row["_id"]: row.get("value") for row in samples.aggregate([*before, *asked], allowDiskUse=True)}
        is_field = name.startswith("field:")
        values[name] = [_text(found.get(sample_id)) if is_field else sample_id in found for sample_id in ids]
    return ImageColumns(values, tags.hexdigest())


def write_image_ids(config: SnapshotConfig, out_dir: Path, columns: ImageColumns) -> None:
    """Write `image_ids.parquet`: the ids, and of the rest exactly the columns that were asked for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = [name for name in config.image_columns if name in ("path", "sha256")]
    table = pq.read_table(out_dir / "images.parquet", columns=["image_id", "sample_id", *own])
    if "labels" in config.image_columns:
        table = table.append_column("labels", _labels_per_image(out_dir, table["image_id"]))
    for name, values in columns.values.items():
        kind = pa.string() if name.startswith("field:") else pa.bool_()
        table = table.append_column(name, pa.array(values, kind))
    pq.write_table(table, out_dir / "image_ids.parquet")


def describe_samples(config: SnapshotConfig, database: Database) -> dict[str, Any]:
    """The tags with their counts, and the fields: what a split could name."""
    document = dataset_document(config, database)
    counts = database[document["sample_collection_name"]].aggregate([{"$unwind": "$tags"}, {"$sortByCount": "$tags"}])
    fields = [field["name"] for field in document["sample_fields"] if not field["name"].startswith("_")]
    return {"tags": {str(row["_id"]): row["count"] for row in counts}, "fields": fields}


def _labels_per_image(out_dir: Path, image_ids: Any) -> Any:
    """The labels that each image has boxes of, sorted, each once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels: dict[int, list[str]] = {image_id: [] for image_id in image_ids.to_pylist()}
    boxes = pq.read_table(out_dir / "boxes.parquet", columns=["image_id", "label"])
    pairs = boxes.drop_null().group_by(["image_id", "label"]).aggregate([]).sort_by([("label", "ascending")])
    for image_id, label in zip(pairs["image_id"].to_pylist(), pairs["label"].to_pylist(), strict=True):
        labels[image_id].append(label)
    return pa.array(list(labels.values()), pa.list_(pa.string()))


def _field_path(config: SnapshotConfig, document: Mapping[str, Any], path: str) -> str:
    """The field's path by its names in the database."""
    fields: list[Mapping[str, Any]] = document.get("sample_fields") or []
    names: list[str] = []
    field: Mapping[str, Any] = {}
    for step in path.split("."):
        field = next((other for other in fields if other.get("name") == step), {})
        names.append(field.get("db_field") or step)
        fields = field.get("fields") or []
    kind = str(field.get("ftype", "")).rpartition(".")[2]
    if kind not in _SCALARS:
        known = [other["name"] for other in document["sample_fields"] if _is_scalar(other)]
        what = f"is a {kind}, not one value per image" if kind else "does not exist"
        raise DatasetError(
            f"field {path!r} of dataset {config.dataset!r} {what}: the split cannot read it\n"
            f"there are: {shorten(known)}"
        )
    return ".".join(names)


def _is_scalar(field: Mapping[str, Any]) -> bool:
    return str(field.get("ftype", "")).rpartition(".")[2] in _SCALARS and not field["name"].startswith("_")


def _text(value: Any) -> str | None:
    """A plain value as text: `true`, `3`, `2.5`; None where there is none."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
