"""Records what an import wrote onto a FiftyOne sample, and tells whether a person changed it since.

Each imported sample has an `ImportRecord`. Labels whose digest differs from the recorded one, and samples without a
record, belong to a person. Here: plain documents as MongoDB returns them. Not here: the decision what to do about them
(`fiftyone_io.importing.plan`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import orjson

RECORD_FIELD = "import_record"
"""Text field of the samples that holds an `ImportRecord`."""
EARLIER_FIELD = "import_digest"
"""Field of versions before the records: a digest of the labels and all else that they wrote."""
EARLIER_TEXT_FIELDS = ("agar_background", "agar_sample_id")
_BOX_FIELDS = frozenset({"_id", "_cls", "attributes", "tags", "label", "bounding_box"})
_IDENTITY = frozenset({"_id", "_cls"})
_NOTHING: tuple[Any, ...] = (None, [], {})
_OF_ANY_SAMPLE = frozenset(
    {"_id", "_media_type", "_rand", "_dataset_id", "filepath", "tags", "metadata", "created_at", "last_modified_at"}
    | {RECORD_FIELD, EARLIER_FIELD}
)


@dataclass(frozen=True)
class ImportRecord:
    """What an import wrote onto a sample. Everything else on the sample was written by a person or another program."""

    labels: str
    """`labels_digest` of the labels as written; empty if no import has written labels yet."""
    photos: list[str] = field(default_factory=list)
    """sha256 of the photo that the labels were written for, then of the photos that were saved in its place."""
    path: str = ""
    """Path of the photo in the sample after the import; empty if not known."""
    texts: dict[str, str | None] = field(default_factory=dict)
    """Text fields, as written."""
    tags: list[str] = field(default_factory=list)
    """Tags that an import put onto the sample, without those that it had before."""
    made_sample: bool = True
    """Whether an import made the sample; False if it wrote onto an existing one."""

    def text(self) -> str:
        """Serialise the record; equal records give equal text."""
        return orjson.dumps(vars(self), option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def read(cls, text: object) -> ImportRecord | None:
        """Parse a record; None if the text is not a record of a known version, so that it cannot be relied on."""
        if not isinstance(text, str):
            return None
        try:
            record = cls(**orjson.loads(text))
        except (ValueError, TypeError):
            return None
        kinds = (str, list, str, dict, list, bool)
        values = (record.labels, record.photos, record.path, record.texts, record.tags, record.made_sample)
        return record if all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=True)) else None


def labels_digest(labels: object) -> str:
    """Return the digest of a label field's content: labels, boxes, attributes and tags of its boxes, in their order.

    Ids and empty values are left out: FiftyOne gives a new id to a box that is drawn again, and either stores None or
    leaves a field out. A missing label field differs from an empty list, which means that a person found nothing.
    """
    if not isinstance(labels, Mapping):
        return _sha256({"": labels})
    content = _content(labels)
    if "detections" in content:
        content["detections"] = [_content(box) if isinstance(box, Mapping) else box for box in content["detections"]]
    return _sha256(content)


def _content(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in sorted(document.items())
        if name not in _IDENTITY and (value or value not in _NOTHING)
    }


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(bson.encode(content)).hexdigest()


def fields_of_others(sample: Mapping[str, Any], record: ImportRecord, label_field: str) -> list[str]:
    """Return the fields of a sample that hold values which the import did not write, except the labels."""
    names = [
        name
        for name, value in sample.items()
        if name not in _OF_ANY_SAMPLE
        and name != label_field
        and value not in _NOTHING
        and record.texts.get(name) != value
    ]
    return names + ["tags"] * bool(set(sample.get("tags") or []) - set(record.tags))


def earlier_digest(
    labels: Sequence[str],
    boxes_rel_xywh: Sequence[Any],
    attributes: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
    texts: Mapping[str, str | None],
) -> str:
    """Return the digest that versions before the records stored as `EARLIER_FIELD`."""
    content = [labels, boxes_rel_xywh, attributes, metadata, texts, False]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_as_earlier_written(sample: Mapping[str, Any], label_field: str) -> bool:
    """Whether a sample without a record still matches its `EARLIER_FIELD`, so that no person changed its labels."""
    boxes = (sample.get(label_field) or {}).get("detections")
    if boxes is None or any(box.get("tags") or box.get("attributes") for box in boxes):
        return False
    try:
        digest = earlier_digest(
            [box["label"] for box in boxes],
            [box["bounding_box"] for box in boxes],
            [{name: value for name, value in box.items() if name not in _BOX_FIELDS} for box in boxes],
            {name: value for name, value in (sample.get("metadata") or {}).items() if name != "_cls"},
            {name: sample[name] for name in EARLIER_TEXT_FIELDS if name in sample},
        )
    except (KeyError, TypeError, ValueError):  # the sample has other fields than an import writes
        return False
    return digest == sample.get(EARLIER_FIELD)
