"""What an import wrote onto a FiftyOne sample, and whether a person has been there since.

Each imported sample keeps an `ImportRecord`. Labels whose digest is not the recorded one, and samples without a record,
are a person's. Here: plain documents as MongoDB returns them. Not here: the decision what to do about them
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
"""What versions before the records kept: a digest of the labels and all else that they wrote."""
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
    """What an import wrote onto a sample; everything else on it is a person's or another program's."""

    labels: str
    """`labels_digest` of the labels as written; empty where the import has written none yet."""
    photos: list[str] = field(default_factory=list)
    """sha256 of the photo that they were written for, then of those that were saved in its place."""
    path: str = ""
    """Where the sample said that its photo is, after the import; empty where that is not known."""
    texts: dict[str, str | None] = field(default_factory=dict)
    """Text fields, as written."""
    tags: list[str] = field(default_factory=list)
    """Tags that an import put onto the sample; those that were there before are not among them."""
    made_sample: bool = True
    """An import made the sample; False where it wrote onto one that was there."""

    def text(self) -> str:
        """The same record is the same text."""
        return orjson.dumps(vars(self), option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def read(cls, text: object) -> ImportRecord | None:
        """None where the text is no record of a version that we know: then what it says cannot be relied on."""
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
    """Of the content of a label field: labels, boxes, attributes and tags of its boxes, in their order.

    Ids do not count, nor what is empty: FiftyOne gives new ids to a box that is drawn again, and stores None or leaves
    a field out as it likes. No labels at all are another thing than an empty list, by which somebody says that nothing
    is there.
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
    """Fields of a whole sample that hold what the import did not write, its labels apart."""
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
    """What versions before the records stored as `EARLIER_FIELD`."""
    content = [labels, boxes_rel_xywh, attributes, metadata, texts, False]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_as_earlier_written(sample: Mapping[str, Any], label_field: str) -> bool:
    """Whether a sample without a record provably holds what its `EARLIER_FIELD` says: nobody changed its labels."""
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
    except (KeyError, TypeError, ValueError):  # other fields than an import writes
        return False
    return digest == sample.get(EARLIER_FIELD)
