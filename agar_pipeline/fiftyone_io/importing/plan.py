"""What an import writes, given what a folder holds and what the dataset holds. No file, no database.

Labels that an earlier import wrote and nobody changed follow the annotations; all others stay, unless they are to be
overwritten. Each write is conditional on what was read.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import bson
from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.earlier_imports import record_of
from agar_pipeline.fiftyone_io.importing.match import Sample
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.ownership.labels import RECORD_FIELD, ImportRecord, fields_of_others, labels_digest

_LARGEST_CONDITION = 4_000_000
"""Bytes of labels that a write is conditional on: with them it must fit into one message to MongoDB."""


@dataclass(frozen=True)
class Arrival:
    """An image of the folder, and what its sample should hold."""

    image: AnnotatedImage
    photo: str | None
    """sha256"""
    labels: str
    """Digest of its labels."""
    tags: frozenset[str] = frozenset()
    """Those of the training lists."""


@dataclass(frozen=True)
class Write:
    """One operation of a bulk write."""

    sample_id: ObjectId
    filepath: str
    operation: InsertOne | UpdateOne | DeleteOne
    counted_as: Literal["added", "updated", "unchanged", "removed", "moved"]


@dataclass(frozen=True)
class Planner:
    """Decides for one image after the other, and counts what needs no write."""

    dataset_id: ObjectId
    list_tags: frozenset[str]
    """All tags that training lists give."""
    overwrite: bool
    """Labels of a person are replaced by those of the annotation."""
    stamp: datetime
    """Time of the writes."""
    text_fields: tuple[str, ...]
    """Those that the images have."""
    counts: ImportCounts

    def needs_labels(self, arrival: Arrival, sample: Sample) -> bool:
        """Whether `update` must know the sample's labels."""
        record = self._record(arrival, sample)
        return self.overwrite or record is None or record.labels != arrival.labels

    def _record(self, arrival: Arrival, sample: Sample) -> ImportRecord | None:
        return record_of(sample, arrival.image, arrival.labels, self.list_tags)

    def add(self, arrival: Arrival, sample_id: ObjectId) -> Write:
        """A new sample."""
        image, tags = arrival.image, sorted(arrival.tags)
        record = ImportRecord(
            arrival.labels, [arrival.photo] if arrival.photo else [], str(image.path), image.fields, tags
        )
        new = {
            "_id": sample_id,
            "tags": tags,
            "_media_type": "image",
            "_rand": random.random(),
            "_dataset_id": self.dataset_id,
            "created_at": self.stamp,
            "filepath": str(image.path),
            "last_modified_at": self.stamp,
            "metadata": {"_cls": "ImageMetadata", **image.metadata},
            IMPORT_FIELD: as_detections(image),
            **image.fields,
            RECORD_FIELD: record.text(),
        }
        return Write(sample_id, str(image.path), InsertOne(new), "added")

    def update(self, arrival: Arrival, sample: Sample) -> Write | None:
        """What differs on a sample that is there; None where nothing does, or a person's work is kept as a whole."""
        record = self._record(arrival, sample)
        if record is None:
            if not self.overwrite:
                self._keep_foreign(arrival, sample)
                return None
            record = ImportRecord(labels="", made_sample=False)
        return _Update(self, arrival, sample, record).write()

    def _keep_foreign(self, arrival: Arrival, sample: Sample) -> None:
        self.counts.unchanged += 1
        if sample.labels != arrival.labels:
            self.counts.keep("corrected" if sample.of_earlier_version else "not_imported", sample.filepath)
        elif not arrival.tags.issubset(sample.plain.get("tags") or ()):
            self.counts.keep("not_tagged", sample.filepath)

    def leave_out(self, arrival: Arrival, sample: Sample, *, away: bool) -> Write | None:
        """Remove the sample of an uncountable image where all of it is ours; `sample` was read whole.

        One known by its photo alone, whose path has no file (`away`), may be of a copy in a folder that is not there
        now: it is not removed.
        """
        record = record_of(sample, arrival.image, None, self.list_tags)
        ours = record is not None and record.made_sample and not fields_of_others(sample.plain, record, IMPORT_FIELD)
        goes = record is not None and ours and (sample.labels == record.labels or self.overwrite)
        moved = sample.filepath != str(arrival.image.path)
        if goes and not (moved and away):
            return Write(sample.id, sample.filepath, DeleteOne(_as_read(sample, IMPORT_FIELD)), "removed")
        self.counts.keep("uncountable", sample.filepath)
        return self.move(sample, str(arrival.image.path)) if moved and not goes else None

    def move(self, sample: Sample, filepath: str) -> Write:
        """A sample that stays as it is, but its photo lies elsewhere now."""
        changes = {"filepath": filepath, "last_modified_at": self.stamp}
        if sample.record is not None:
            changes[RECORD_FIELD] = dataclasses.replace(sample.record, path=filepath).text()
        return Write(sample.id, filepath, UpdateOne(_as_read(sample), {"$set": changes}), "moved")


class _Update:
    """The differences between an image and its sample, part by part; what a person changed is named and kept."""

    def __init__(self, planner: Planner, arrival: Arrival, sample: Sample, record: ImportRecord) -> None:
        self.planner, self.arrival, self.sample, self.record = planner, arrival, sample, record
        self.changes: dict[str, Any] = {}
        self.conditions: list[str] = []

    def write(self) -> Write | None:
        counts, path = self.planner.counts, str(self.arrival.image.path)
        record = dataclasses.replace(self.record, labels=self._labels() or self.record.labels, texts=self._texts())
        record = dataclasses.replace(record, photos=self._photos(), path=path, tags=self._tags())
        if path != self.sample.filepath:
            self.changes["filepath"] = path
            counts.moved += 1
        tags = self._tag_operations(record)
        changed = bool(self.changes or tags)
        if not changed and record.text() == self.sample.plain.get(RECORD_FIELD):
            counts.unchanged += 1
            return None
        stamped = {**self.changes, RECORD_FIELD: record.text(), "last_modified_at": self.planner.stamp}
        operations = {"$set": {**stamped, **tags.pop("$set", {})}, **tags}
        operation = UpdateOne(_as_read(self.sample, *self.conditions), operations)
        return Write(self.sample.id, path, operation, "updated" if changed else "unchanged")

    def _labels(self) -> str | None:
        """Digest of the image's labels where the sample has them, after this; None where others are kept."""
        wanted, recorded = self.arrival.labels, self.record.labels
        if not self.sample.with_labels or self.sample.labels == wanted:  # not read: as recorded, see `needs_labels`
            return wanted
        if self.planner.overwrite or self.sample.labels == recorded:
            self.changes[IMPORT_FIELD] = as_detections(self.arrival.image)
            self.conditions.append(IMPORT_FIELD)
            if self.sample.labels != recorded:
                self.planner.counts.overwritten.append(self.sample.filepath)
            return wanted
        if wanted != recorded:
            replaced = self.record.photos and self.arrival.photo not in self.record.photos[:1]
            self.planner.counts.keep("photo_changed" if replaced else "corrected", self.sample.filepath)
        return None

    def _texts(self) -> dict[str, str | None]:
        """What the import has written of the text fields, after this."""
        texts, kept = dict(self.record.texts), False
        for name, value in self.arrival.image.fields.items():
            there, before = self.sample.plain.get(name), self.record.texts.get(name)
            if there == value:
                texts[name] = value
            elif self.planner.overwrite or (there == before and value != before):
                self.changes[name] = texts[name] = value
            elif value != before:
                kept = True
        if kept:
            self.planner.counts.keep("fields", self.sample.filepath)
        return texts

    def _photos(self) -> list[str]:
        """The record's, after this; the metadata follow the file."""
        photo, before = self.arrival.photo, self.record.photos
        if photo is None or photo in before[-1:]:
            return before
        there, wanted = self.sample.plain.get("metadata"), self.arrival.image.metadata
        if not isinstance(there, dict):
            self.changes["metadata"] = {"_cls": "ImageMetadata", **wanted}
        else:  # one by one: a person may have added others
            different = {name: value for name, value in wanted.items() if there.get(name) != value}
            self.changes |= {f"metadata.{name}": value for name, value in different.items()}
        if photo in before:
            return before[: before.index(photo) + 1]
        return [photo] if IMPORT_FIELD in self.changes else [*before, photo]

    def _tags(self) -> list[str]:
        """Tags on the sample that the import gave it, after this; one that a person had given is not taken over."""
        there, recorded, wanted = set(self.sample.plain.get("tags") or ()), set(self.record.tags), self.arrival.tags
        of_other_lists = recorded - self.planner.list_tags
        return sorted((recorded & there & wanted) | (wanted - there) | (of_other_lists & there))

    def _tag_operations(self, record: ImportRecord) -> dict[str, Any]:
        there = list(self.sample.plain.get("tags") or ())
        new = sorted(set(record.tags) - set(there))
        gone = sorted((set(self.record.tags) & set(there)) - set(record.tags))
        if new and gone:  # MongoDB takes only one operation on a field: the whole list, if it is as it was read
            self.conditions.append("tags")
            return {"$set": {"tags": [tag for tag in there if tag not in gone] + new}}
        if gone:
            return {"$pull": {"tags": {"$in": gone}}}
        return {"$addToSet": {"tags": {"$each": new}}} if new else {}


def _as_read(sample: Sample, *fields: str) -> dict[str, Any]:
    """Matches the sample as long as nobody wrote it since."""
    there = {name: sample.plain.get(name) for name in fields}
    if len(bson.encode(there)) > _LARGEST_CONDITION:
        there = {}
    return {"_id": sample.id, "last_modified_at": sample.plain.get("last_modified_at"), **there}


def digest_of(image: AnnotatedImage) -> str:
    """`labels_digest` of `as_detections`."""
    return labels_digest({"detections": box_contents(image)} if image.labelled else None)


def box_contents(image: AnnotatedImage) -> list[dict[str, Any]]:
    """What the annotation says of each box, as FiftyOne names it."""
    boxes = zip(image.labels, image.boxes_rel_xywh, image.attributes, strict=True)
    return [{"label": label, "bounding_box": box, **more} for label, box, more in boxes]


def as_detections(image: AnnotatedImage) -> dict[str, Any] | None:
    """An image's labels as FiftyOne stores them; None where nobody has labelled it."""
    if not image.labelled:
        return None
    boxes = [
        {"_id": ObjectId(), "_cls": "Detection", "attributes": {}, "tags": [], **box} for box in box_contents(image)
    ]
    return {"_cls": "Detections", "detections": boxes}


def now() -> datetime:
    """As MongoDB keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
