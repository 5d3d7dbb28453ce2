"""Decides what an import writes, from the images of a folder and the samples of the dataset; no file or database.

Labels that an earlier import wrote and nobody changed are updated from the annotations. All other labels are kept,
unless they are to be overwritten. Each write is conditional on the values that were read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import bson
from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage
from agar_pipeline.fiftyone_io.database.documents import detection, detections, new_sample
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.earlier_imports import record_of
from agar_pipeline.fiftyone_io.importing.match_samples import Sample
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.ownership.imported_labels import RECORD_FIELD, ImportRecord, fields_of_others, labels_digest

_LARGEST_CONDITION = 4_000_000
"""Largest size in bytes of labels in the condition of a write, so that the write fits into one MongoDB message."""


@dataclass(frozen=True)
class Arrival:
    """An image of the folder, with the values that its sample should have."""

    image: AnnotatedImage
    photo: str | None
    """sha256 of the image file."""
    labels: str
    """Digest of its labels."""
    tags: frozenset[str] = frozenset()
    """Tags from the training lists."""


@dataclass(frozen=True)
class Write:
    """One operation of a bulk write."""

    sample_id: ObjectId
    filepath: str
    operation: InsertOne | UpdateOne | DeleteOne
    counted_as: Literal["added", "updated", "unchanged", "removed", "moved"]


@dataclass(frozen=True)
class Planner:
    """Decides what is written for each image, and counts images that need no write."""

    dataset_id: ObjectId
    list_tags: frozenset[str]
    """All tags of the training lists."""
    overwrite: bool
    """Whether labels that a user made or changed are replaced by those of the annotation."""
    stamp: datetime
    """Time of the import, written as `last_modified_at`."""
    text_fields: tuple[str, ...]
    """Names of the text fields that the images have."""
    counts: ImportCounts

    def needs_labels(self, arrival: Arrival, sample: Sample) -> bool:
        """Whether `update` needs the sample's labels."""
        record = self._record(arrival, sample)
        return self.overwrite or record is None or record.labels != arrival.labels

    def _record(self, arrival: Arrival, sample: Sample) -> ImportRecord | None:
        return record_of(sample, arrival.image, arrival.labels, self.list_tags)

    def add(self, arrival: Arrival, sample_id: ObjectId) -> Write:
        image, tags = arrival.image, sorted(arrival.tags)
        record = ImportRecord(
            arrival.labels, [arrival.photo] if arrival.photo else [], str(image.path), image.fields, tags
        )
        metadata = {"_cls": "ImageMetadata", **image.metadata}
        values = {"tags": tags, IMPORT_FIELD: as_detections(image), **image.fields, RECORD_FIELD: record.text()}
        new = new_sample(self.dataset_id, str(image.path), metadata, self.stamp, _id=sample_id, **values)
        return Write(sample_id, str(image.path), InsertOne(new), "added")

    def update(self, arrival: Arrival, sample: Sample) -> Write | None:
        """Plan the differences on an existing sample; None if there are none, or the whole sample is kept."""
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
        """Plan the removal of the sample of an uncountable image, if only imports wrote to it or may be overwritten.

        Otherwise the sample is kept, and its path is updated if its photo moved.

        Args:
            arrival: The uncountable image.
            sample: Its sample, read with all fields.
            away: Whether the sample's path has no file. If such a sample was matched only by its photo, it may belong
                to a copy in a folder that does not exist at present, and is not removed.
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
        """Plan a new file path for a sample that is otherwise unchanged."""
        changes = {"filepath": filepath, "last_modified_at": self.stamp}
        if sample.record is not None:
            changes[RECORD_FIELD] = dataclasses.replace(sample.record, path=filepath).text()
        return Write(sample.id, filepath, UpdateOne(_as_read(sample), {"$set": changes}), "moved")


class _Update:
    """Collects the differences between an image and its sample; values that a user changed are kept and counted."""

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
        """Update the labels; return the image's digest if the sample has its labels afterwards, None if others."""
        wanted, recorded = self.arrival.labels, self.record.labels
        if not self.sample.with_labels or self.sample.labels == wanted:  # not read: as recorded (`needs_labels`)
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
        """Update the text fields; return the values that imports have written afterwards."""
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
        """Update the metadata if the file changed; return the record's photos afterwards."""
        photo, before = self.arrival.photo, self.record.photos
        if photo is None or photo in before[-1:]:
            return before
        there, wanted = self.sample.plain.get("metadata"), self.arrival.image.metadata
        if not isinstance(there, dict):
            self.changes["metadata"] = {"_cls": "ImageMetadata", **wanted}
        else:  # key by key, because a user may have added other keys
            different = {name: value for name, value in wanted.items() if there.get(name) != value}
            self.changes |= {f"metadata.{name}": value for name, value in different.items()}
        if photo in before:
            return before[: before.index(photo) + 1]
        return [photo] if IMPORT_FIELD in self.changes else [*before, photo]

    def _tags(self) -> list[str]:
        """Return the sample's tags that imports wrote, after this one; a user's tag is not added to the record."""
        there, recorded, wanted = set(self.sample.plain.get("tags") or ()), set(self.record.tags), self.arrival.tags
        of_other_lists = recorded - self.planner.list_tags
        return sorted((recorded & there & wanted) | (wanted - there) | (of_other_lists & there))

    def _tag_operations(self, record: ImportRecord) -> dict[str, Any]:
        there = list(self.sample.plain.get("tags") or ())
        new = sorted(set(record.tags) - set(there))
        gone = sorted((set(self.record.tags) & set(there)) - set(record.tags))
        if new and gone:  # MongoDB allows one operation per field: set the list if unchanged
            self.conditions.append("tags")
            return {"$set": {"tags": [tag for tag in there if tag not in gone] + new}}
        if gone:
            return {"$pull": {"tags": {"$in": gone}}}
        return {"$addToSet": {"tags": {"$each": new}}} if new else {}


def _as_read(sample: Sample, *fields: str) -> dict[str, Any]:
    """Mongo filter that matches the sample only if nobody has written it since it was read."""
    there = {name: sample.plain.get(name) for name in fields}
    if len(bson.encode(there)) > _LARGEST_CONDITION:
        there = {}
    return {"_id": sample.id, "last_modified_at": sample.plain.get("last_modified_at"), **there}


def digest_of(image: AnnotatedImage) -> str:
    """Return the `labels_digest` of the image's labels, equal to that of `as_detections`."""
    return labels_digest({"detections": box_contents(image)} if image.labelled else None)


def box_contents(image: AnnotatedImage) -> list[dict[str, Any]]:
    """Return label, box and attributes of each annotation under FiftyOne's names."""
    boxes = zip(image.labels, image.boxes_rel_xywh, image.attributes, strict=True)
    return [{"label": label, "bounding_box": box, **more} for label, box, more in boxes]


def as_detections(image: AnnotatedImage) -> dict[str, Any] | None:
    """Return an image's labels as FiftyOne stores them; None if nobody has labelled it."""
    if not image.labelled:
        return None
    boxes = zip(image.labels, image.boxes_rel_xywh, image.attributes, strict=True)
    return detections(detection(label, box, **more) for label, box, more in boxes)
