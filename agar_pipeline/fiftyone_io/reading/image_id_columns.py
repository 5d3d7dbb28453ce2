"""Reads the columns that a split needs from the samples: values of fields, and membership in views.

They are separate from the content of a snapshot (`mongo_columns`), so that editing a field or tag that no split reads
does not change the data version.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading.source import Resolve, ResolvedSource, dataset_document, resolved_source, shorten
from agar_pipeline.snapshot_files.image_ids import ImageColumns

_SCALARS = {"StringField": "text", "BooleanField": "bool", "IntField": "int", "FloatField": "float"}


def column_stages(config: SnapshotConfig, database: Database, home: Path, resolve: Resolve) -> dict[str, list[Any]]:
    """Map each column to its Mongo stages, which yield a field's value per sample, or the samples in a view.

    Raises:
        DatasetError: A field or saved view does not exist, or a field does not hold one plain value per sample.
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
    """Query the values of each column, and a SHA-256 of all samples' tags."""
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


def _field_path(config: SnapshotConfig, document: Mapping[str, Any], path: str) -> str:
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
        what = f"is a {kind} and does not hold one value per image" if kind else "does not exist"
        raise DatasetError(
            f"cannot be read by the split, because it {what}",
            where=f"field {path!r} of dataset {config.dataset!r}",
            next_step=f"name one of these fields: {shorten(known)}",
        )
    return ".".join(names)


def _is_scalar(field: Mapping[str, Any]) -> bool:
    return str(field.get("ftype", "")).rpartition(".")[2] in _SCALARS and not field["name"].startswith("_")


def _text(value: Any) -> str | None:
    """Format a plain value as text (`true`, `3`, `2.5`); None for a missing value or NaN."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
