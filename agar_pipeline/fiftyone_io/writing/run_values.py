"""Reads, writes and removes our values on samples with pymongo, and detects values that a user has edited.

The values of a sample are one unit: the first of them has a digest of all as they were written. If the
digest does not match, somebody edited the values, and they are kept. Each write is conditional on the values that were
read, so that it does not apply if somebody edits them in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import bson
from bson import ObjectId
from pymongo import DeleteOne, UpdateOne
from pymongo.collection import Collection

from agar_pipeline.fiftyone_io.database.documents import now
from agar_pipeline.fiftyone_io.writing.field_names import DIGEST, OwnFields

_BATCH = 500
Values = dict[str, Any]
"""Field → value, for the fields of a run that a sample has."""


def seal(fields: OwnFields, values: Values) -> Values:
    return {**values, fields.name: {**values[fields.name], DIGEST: _digest(fields, values)}}


def is_unedited(fields: OwnFields, values: Values) -> bool:
    """Whether the values match their digest, that is, are unchanged since they were written."""
    predicted = values.get(fields.name)
    return isinstance(predicted, dict) and predicted.get(DIGEST) == _digest(fields, values)


def write_values(
    samples: Collection, fields: OwnFields, wanted: dict[ObjectId, Values], *, overwrite: bool
) -> list[str]:
    """Write sealed values to samples that do not have them yet; edited values are kept unless `overwrite` is set.

    Returns:
        File names of the samples whose edited values were kept.
    """
    updates: dict[ObjectId, UpdateOne] = {}
    kept, ids = [], list(wanted)
    for start in range(0, len(ids), _BATCH):
        for sample in _read(samples, fields, {"_id": {"$in": ids[start : start + _BATCH]}}):
            new, there = wanted[sample["_id"]], _values(fields, sample)
            is_same = bool(there) and _content(fields, there) == _content(fields, new)
            if is_same and is_unedited(fields, there):
                continue
            if there and not (is_same or overwrite or is_unedited(fields, there)):
                kept.append(sample["_id"])
            else:
                written = {"$set": {**new, "last_modified_at": now()}}
                updates[sample["_id"]] = UpdateOne(unchanged(fields, sample), written)
    return _file_names(samples, [*kept, *_write(samples, fields, updates, wanted)])


def read_values(samples: Collection, fields: OwnFields, sample_ids: Sequence[str]) -> dict[str, Values]:
    """Return sample id → the values of the run as they are now, for the samples that exist."""
    found: dict[str, Values] = {}
    for start in range(0, len(sample_ids), _BATCH):
        ids = [ObjectId(sample_id) for sample_id in sample_ids[start : start + _BATCH]]
        rows = _read(samples, fields, {"_id": {"$in": ids}})
        found |= {str(sample["_id"]): _values(fields, sample) for sample in rows}
    return found


def find_edited(samples: Collection, fields: OwnFields) -> list[str]:
    """List the file names of all samples with values of the run that were edited since they were written."""
    found = _read(samples, fields, _has_any(fields))
    return _file_names(samples, [sample["_id"] for sample in found if not is_unedited(fields, _values(fields, sample))])


def remove_values(samples: Collection, fields: OwnFields, *, overwrite: bool, but_of: Container[ObjectId] = ()) -> None:
    """Remove the unedited values, with `overwrite` all of them; values that are edited meanwhile are kept.

    Samples in `but_of` keep theirs.
    """
    removal = {"$unset": dict.fromkeys(fields.names, ""), "$set": {"last_modified_at": now()}}
    updates = [
        UpdateOne(unchanged(fields, sample), removal)
        for sample in _read(samples, fields, _has_any(fields))
        if sample["_id"] not in but_of and (overwrite or is_unedited(fields, _values(fields, sample)))
    ]
    apply_updates(samples, updates)


def mark_confirmed(samples: Collection, fields: OwnFields, tag: str) -> None:
    """Let the values of all samples with a tag count as edited: who gave the tag has confirmed them as they are."""
    written = {"tags": tag, fields.digest: {"$exists": True}}
    samples.update_many(written, {"$unset": {fields.digest: ""}, "$set": {"last_modified_at": now()}})


def holds_values(samples: Collection, fields: OwnFields) -> bool:
    return samples.find_one(_has_any(fields), {"_id": 1}) is not None


def apply_updates(samples: Collection, updates: Sequence[UpdateOne | DeleteOne]) -> int:
    """Apply operations in any order, and return how many samples matched; pymongo itself forms the batches."""
    return samples.bulk_write(updates, ordered=False).matched_count if updates else 0


def _write(
    samples: Collection, fields: OwnFields, updates: dict[ObjectId, UpdateOne], wanted: dict[ObjectId, Values]
) -> list[Any]:
    """Apply the updates; return the ids of existing samples that were edited between reading and writing."""
    if apply_updates(samples, list(updates.values())) == len(updates):
        return []
    now_there = _read(samples, fields, {"_id": {"$in": list(updates)}})
    return [sample["_id"] for sample in now_there if sample.get(fields.name) != wanted[sample["_id"]][fields.name]]


def _read(samples: Collection, fields: OwnFields, condition: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return samples.find(condition, dict.fromkeys(fields.names, 1))


def _values(fields: OwnFields, sample: dict[str, Any]) -> Values:
    return {name: sample[name] for name in fields.names if name in sample}


def unchanged(fields: OwnFields, sample: dict[str, Any]) -> dict[str, Any]:
    """Mongo filter that matches the sample only while its values are those that were read."""
    values = {name: {"$eq": sample[name]} if name in sample else {"$exists": False} for name in fields.names}
    return {"_id": sample["_id"], **values}


def _has_any(fields: OwnFields) -> dict[str, Any]:
    return {"$or": [{name: {"$exists": True}} for name in fields.names]}


def _digest(fields: OwnFields, values: Values) -> str:
    predicted = values[fields.name]
    without = {key: value for key, value in predicted.items() if key != DIGEST}
    rest = [values.get(name) for name in fields.names[1:]]
    return hashlib.sha256(bson.encode({"values": [without, *rest]})).hexdigest()


def _content(fields: OwnFields, values: Values) -> list[Any]:
    """Return the values without digests and detection ids, which differ with each write."""
    return [_without_ids(values.get(name)) for name in fields.names]


def _without_ids(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    detections = value.get("detections") or []
    return [
        {key: part for key, part in value.items() if key not in ("detections", DIGEST)},
        [{key: part for key, part in detection.items() if key != "_id"} for detection in detections],
    ]


def _file_names(samples: Collection, ids: list[Any]) -> list[str]:
    found = samples.find({"_id": {"$in": ids}}, {"filepath": 1})
    return sorted(Path(str(sample.get("filepath"))).name for sample in found)
