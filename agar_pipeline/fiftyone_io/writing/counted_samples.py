"""The samples of a counted folder's dataset: inserted, found again, checked for edits and removed, with pymongo.

Here: the dataset's mark, and its samples. Not here: the predictions on them (`run_values`), creating and deleting the
dataset with FiftyOne (`counted_schema`).
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.fiftyone_io.database.documents import new_sample, now
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.run_values import apply_updates, find_edited, is_unedited, unchanged

MARK = "written_by_agar_view"
"""Key in a dataset's `info`; its value has `folder`, `fields` (the schema as we made it) and `sha256` (of the
predictions that were written last)."""


def sample_id_of(filepath: Path) -> str:
    """Return the id of a photo's sample, which follows from its path."""
    return hashlib.sha256(str(filepath).encode()).hexdigest()[:24]


def mark_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the mark of a dataset's record; None if `agar view --counted` did not make the dataset."""
    mark = (document.get("info") or {}).get(MARK)
    return mark if isinstance(mark, dict) else None


def is_prepared(document: dict[str, Any]) -> bool:
    """Whether the dataset was created completely."""
    return "fields" in (mark_of(document) or {})


def find_marked(database: Database, folder: str) -> list[dict[str, Any]]:
    """Return the records of the datasets that were made of a folder."""
    return list(database.datasets.find({f"info.{MARK}.folder": folder}))


def set_written(database: Database, document: dict[str, Any], sha256: str) -> None:
    """Record which predictions the dataset holds."""
    database.datasets.update_one({"_id": document["_id"]}, {"$set": {f"info.{MARK}.sha256": sha256}})


def insert_missing(
    samples: Collection, dataset_id: ObjectId, photos: Iterable[Path], sizes_wh: Iterable[tuple[int, int]]
) -> None:
    """Insert the samples that do not exist yet; existing ones are not changed."""
    stamp, inserts = now(), []
    for path, (width, height) in zip(photos, sizes_wh, strict=True):
        mime_type, _ = mimetypes.guess_type(path)
        size_bytes = path.stat().st_size if path.is_file() else None
        facts = {"size_bytes": size_bytes, "mime_type": mime_type, "width": width, "height": height}
        sample = new_sample(dataset_id, str(path), {"_cls": "ImageMetadata", **facts}, stamp)
        inserts.append(UpdateOne({"_id": ObjectId(sample_id_of(path))}, {"$setOnInsert": sample}, upsert=True))
    apply_updates(samples, inserts)


def describe_edits(database: Database, document: dict[str, Any], fields: RunFields) -> list[str]:
    """Describe what somebody changed in the dataset since it was made; empty if nothing."""
    samples = database[document["sample_collection_name"]]
    rows = list(samples.find({}, {"filepath": 1, "tags": 1}))
    other = [row for row in rows if str(row["_id"]) != sample_id_of(Path(str(row.get("filepath"))))]
    known = (mark_of(document) or {}).get("fields", [])
    new_fields = [field["name"] for field in document.get("sample_fields") or [] if field["name"] not in known]
    found = {
        "predictions on photos": find_edited(samples, fields),
        "samples that were added": [Path(str(row.get("filepath"))).name for row in other],
        "tags on photos": [Path(str(row.get("filepath"))).name for row in rows if row.get("tags")],
        "fields": new_fields if known else [],
        "saved views": [view["name"] for view in database.views.find({"_dataset_id": document["_id"]})],
    }
    return [f"{what}: {len(names)} ({', '.join(map(str, names[:3]))})" for what, names in found.items() if names]


def remove_samples(samples: Collection, fields: RunFields) -> None:
    """Remove the samples that are as we wrote them; one that is edited meanwhile stays."""
    deletions = [
        DeleteOne({"filepath": sample["filepath"], "tags": sample["tags"], **unchanged(fields, sample)})
        for sample in samples.find({}, {"filepath": 1, "tags": 1, fields.name: 1})
        if fields.name not in sample or is_unedited(fields, {fields.name: sample[fields.name]})
    ]
    apply_updates(samples, deletions)
