"""What an import writes, given what a folder holds and what the dataset holds. No file, no database.

The samples' ids follow from the images' names, so that the same folder gives the same snapshot and the same split on
every machine.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne

from agar_pipeline.fiftyone_io.annotated import AnnotatedImage
from agar_pipeline.fiftyone_io.source import IMPORT_FIELD
from agar_pipeline.fiftyone_io.training_lists import Membership

TEXT_FIELDS = ("agar_background", "agar_sample_id", "import_digest")


@dataclass
class ImportCounts:
    """What an import did, in images unless the name says otherwise; plain and JSON-ready."""

    added: int = 0
    updated: int = 0
    """The annotation, the image or its lists changed, or the folder moved."""
    unchanged: int = 0
    uncountable: int = 0
    """Left out: colonies are there, but not marked."""
    removed: int = 0
    """Uncountable ones that an earlier import had added."""
    boxes: int = 0
    """Boxes of all images that were added, updated or unchanged."""
    classes: dict[str, int] = field(default_factory=dict)
    """Boxes per label."""
    unknown_labels: dict[str, int] = field(default_factory=dict)
    """Those of them that the class map does not know."""
    problems: list[str] = field(default_factory=list)
    """What was left out since it is broken, a sentence each."""
    vanished: list[str] = field(default_factory=list)
    """Samples of an earlier import whose image file is gone; they stay in the dataset."""
    images_without_annotation: list[str] = field(default_factory=list)
    annotations_without_image: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    """Imported all the same: their annotation states another number of objects than it has boxes."""
    lists: list[dict[str, Any]] = field(default_factory=list)
    """Of the training lists, as `training_lists.ListCount`."""

    @property
    def images(self) -> int:
        return self.added + self.updated + self.unchanged


def plan_writes(
    images: list[AnnotatedImage],
    membership: Membership,
    rows: list[dict[str, Any]],
    dataset_id: ObjectId,
    counts: ImportCounts,
) -> Iterator[InsertOne | UpdateOne | DeleteOne]:
    """What to write, image by image, given the samples that are there; counts along the way."""
    by_path = {row["filepath"]: row for row in rows}
    by_id = {row["_id"]: row for row in rows}
    met = set()
    for image in images:
        sample_id = _sample_id(image.name)
        present = by_path.get(str(image.path)) or _moved(by_id.get(sample_id))
        met.add(present and present["_id"])
        if image.uncountable:
            counts.uncountable += 1
            if present is not None:
                counts.removed += 1
                yield DeleteOne({"_id": present["_id"]})
            continue
        for label in image.labels:
            counts.boxes += 1
            counts.classes[label] = counts.classes.get(label, 0) + 1
        if present is None:
            counts.added += 1
            while sample_id in by_id:  # an image of the same name from another folder
                sample_id = _sample_id(str(sample_id))
            by_id[sample_id] = {"filepath": str(image.path)}
            tags = sorted(membership.tags.get(image.name, ()))
            yield InsertOne({"_id": sample_id, **_new_fields(dataset_id, tags), **sample_fields(image)})
            continue
        changes = _changes(image, membership, present)
        if changes:
            counts.updated += 1
            yield UpdateOne({"_id": present["_id"]}, {"$set": {**changes, "last_modified_at": now()}})
        else:
            counts.unchanged += 1
    counts.vanished = sorted(
        row["filepath"]
        for row in rows
        if row["_id"] not in met and row.get("import_digest") and not Path(row["filepath"]).exists()
    )


def _changes(image: AnnotatedImage, membership: Membership, present: dict[str, Any]) -> dict[str, Any]:
    """Fields of a sample that differ; what was edited in FiftyOne since stays where the annotation is as it was."""
    changes: dict[str, Any] = {}
    if present.get("import_digest") != image.digest:
        changes = sample_fields(image)
    elif present["filepath"] != str(image.path):
        changes["filepath"] = str(image.path)
    ours = {count.tag for count in membership.counts}
    wanted, tags = membership.tags.get(image.name, set()), list(present.get("tags") or [])
    if {tag for tag in tags if tag in ours} != wanted:
        changes["tags"] = [tag for tag in tags if tag not in ours] + sorted(wanted)
    return changes


def _moved(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """The sample of this name, if its own image is gone: then it is the same image at a new place."""
    return row if row is not None and not Path(row["filepath"]).exists() else None


def _sample_id(name: str) -> ObjectId:
    return ObjectId(hashlib.sha256(name.encode()).digest()[:12])


def _new_fields(dataset_id: ObjectId, tags: list[str]) -> dict[str, Any]:
    return {
        "tags": tags,
        "_media_type": "image",
        "_rand": random.random(),
        "_dataset_id": dataset_id,
        "created_at": now(),
    }


def sample_fields(image: AnnotatedImage) -> dict[str, Any]:
    """An image as FiftyOne stores it, but for its id and its tags."""
    detections = [
        {
            "_id": ObjectId(),
            "_cls": "Detection",
            "attributes": {},
            "tags": [],
            "label": label,
            "bounding_box": box,
            **more,
        }
        for label, box, more in zip(image.labels, image.boxes_rel_xywh, image.attributes, strict=True)
    ]
    return {
        "filepath": str(image.path),
        "last_modified_at": now(),
        "metadata": {"_cls": "ImageMetadata", **image.metadata},
        IMPORT_FIELD: {"_cls": "Detections", "detections": detections},
        **image.fields,
        "import_digest": image.digest,
    }


def now() -> datetime:
    """As MongoDB keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
