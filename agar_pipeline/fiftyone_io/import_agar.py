"""AGAR's annotated images into a FiftyOne dataset; doing it again changes only what changed.

Samples are written as FiftyOne writes them, but in bulk: 86,000 boxes take one second instead of twenty. FiftyOne
itself makes the dataset and its fields, in a child, where they are not there yet. The samples' ids follow from the
images' names, so that the same folder gives the same snapshot and the same split on every machine.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.database import Database

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.agar_files import Plate, find_pairs, read_plate
from agar_pipeline.fiftyone_io.database import connect, open_database, own_service
from agar_pipeline.fiftyone_io.settings import database_name
from agar_pipeline.fiftyone_io.source import IMPORT_FIELD, detections_fields
from agar_pipeline.launch import run_child

TEXT_FIELDS = ("agar_background", "agar_sample_id", "agar_digest")
_BATCH = 500
_CHILD = "agar_pipeline.fiftyone_io"
_PROGRESS = "\x00progress "
"""Marks a line of a child that is progress, not a message."""
Log = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with images done and images in all."""
Prepare = Callable[[str, list[str]], None]
"""Makes a dataset with these text fields."""


@dataclass
class ImportCounts:
    """What an import did, in images unless the name says otherwise."""

    added: int = 0
    updated: int = 0
    """The annotation or the image changed, or the folder moved."""
    unchanged: int = 0
    uncountable: int = 0
    """Left out: colonies are there, but not marked."""
    removed: int = 0
    """Uncountable ones that an earlier import had added."""
    boxes: int = 0
    """Boxes of all images that were added, updated or unchanged."""
    missing_images: list[str] = field(default_factory=list)
    """Annotations without an image."""
    missing_annotations: list[str] = field(default_factory=list)
    """Images without an annotation."""


def import_agar(
    images_dir: Path, dataset: str, database: str, home: Path, log: Log, progress: Progress
) -> ImportCounts:
    """Import `N.jpg` beside `N.json`.

    Args:
        images_dir: Searched with all its subfolders.
        dataset: Made where it does not exist.
        database: As in `SnapshotConfig`.
        home: Holds the embedded database.
        log: Gets lines for people.
        progress: Called as images are read.

    Raises:
        AnnotationError: an annotation cannot be understood; nothing was imported.
        ImageFileError, DatasetError, DatabaseError: likewise.
    """
    images_dir = Path(os.path.abspath(images_dir))  # noqa: PTH100 - without '..', links not followed

    def listen(line: str) -> None:
        if line.startswith(_PROGRESS):
            done, total = line.removeprefix(_PROGRESS).split()
            progress(int(done), int(total))
        else:
            log(line)

    if own_service(database):
        request = {"do": "import_agar", "images_dir": str(images_dir), "dataset": dataset}
        return ImportCounts(**run_child(_CHILD, request, listen))
    with open_database(database, home) as uri:

        def prepare(name: str, text_fields: list[str]) -> None:
            request = {"do": "prepare_dataset", "uri": uri, "dataset": name, "text_fields": text_fields}
            run_child(_CHILD, request, log)

        return import_at(uri, images_dir, dataset, prepare, progress)


def progress_line(done: int, total: int) -> str:
    """How a child tells its progress."""
    return f"{_PROGRESS}{done} {total}"


def import_at(uri: str, images_dir: Path, dataset: str, prepare: Prepare, progress: Progress) -> ImportCounts:
    """Read all files first, so that a bad one leaves the dataset as it was; then write what differs."""
    folder = find_pairs(images_dir)
    counts = ImportCounts(missing_images=folder.missing_images, missing_annotations=folder.missing_annotations)
    plates = []
    for image_path, json_path in folder.pairs:
        plates.append(read_plate(image_path, json_path, images_dir))
        if len(plates) % _BATCH == 0 or len(plates) == len(folder.pairs):
            progress(len(plates), len(folder.pairs))
    with connect(uri) as client:
        database: Database = client[database_name()]
        document = _prepared(database, dataset, prepare)
        samples = database[document["sample_collection_name"]]
        writes = list(_plan(plates, list(samples.find({}, {"filepath": 1, "agar_digest": 1})), document["_id"], counts))
        for start in range(0, len(writes), _BATCH):
            samples.bulk_write(writes[start : start + _BATCH], ordered=False)
        if counts.removed:
            database.datasets.update_one({"_id": document["_id"]}, {"$set": {"last_deletion_at": _now()}})
    return counts


def _prepared(database: Database, dataset: str, prepare: Prepare) -> dict[str, Any]:
    """The dataset's record, once it has all fields."""
    for attempt in range(2):
        document = database.datasets.find_one({"name": dataset})
        if document is not None and _is_prepared(document):
            return document
        if attempt == 0:
            prepare(dataset, list(TEXT_FIELDS))
    raise DatasetError(f"FiftyOne did not make dataset {dataset!r} ready for an import: see `fiftyone datasets info`")


def _is_prepared(document: dict[str, Any]) -> bool:
    names = {field["name"] for field in document["sample_fields"]}
    return (
        bool(document.get("persistent"))
        and document.get("media_type") == "image"
        and names.issuperset(TEXT_FIELDS)
        and IMPORT_FIELD in detections_fields(document)
    )


def _plan(
    plates: list[Plate], rows: list[dict[str, Any]], dataset_id: ObjectId, counts: ImportCounts
) -> Iterator[InsertOne | UpdateOne | DeleteOne]:
    """What to write, plate by plate, given the samples that are there; counts along the way."""
    by_path = {row["filepath"]: row for row in rows}
    by_id = {row["_id"]: row for row in rows}
    for plate in plates:
        sample_id = _sample_id(plate.name)
        present = by_path.get(str(plate.path)) or _moved(by_id.get(sample_id))
        if plate.uncountable:
            counts.uncountable += 1
            if present is not None:
                counts.removed += 1
                yield DeleteOne({"_id": present["_id"]})
            continue
        counts.boxes += len(plate.labels)
        if present is None:
            counts.added += 1
            while sample_id in by_id:  # a plate of the same name from another folder
                sample_id = _sample_id(str(sample_id))
            by_id[sample_id] = {"filepath": str(plate.path)}
            yield InsertOne({"_id": sample_id, **_new_fields(dataset_id), **_fields(plate)})
        elif present.get("agar_digest") != plate.digest:
            counts.updated += 1
            yield UpdateOne({"_id": present["_id"]}, {"$set": _fields(plate)})
        elif present["filepath"] != str(plate.path):  # only moved: what was edited in FiftyOne since stays
            counts.updated += 1
            yield UpdateOne(
                {"_id": present["_id"]}, {"$set": {"filepath": str(plate.path), "last_modified_at": _now()}}
            )
        else:
            counts.unchanged += 1


def _moved(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """The sample of this name, if its own image is gone: then it is the same plate at a new place."""
    return row if row is not None and not Path(row["filepath"]).exists() else None


def _sample_id(name: str) -> ObjectId:
    return ObjectId(hashlib.sha256(name.encode()).digest()[:12])


def _new_fields(dataset_id: ObjectId) -> dict[str, Any]:
    return {
        "tags": [],
        "_media_type": "image",
        "_rand": random.random(),
        "_dataset_id": dataset_id,
        "created_at": _now(),
    }


def _fields(plate: Plate) -> dict[str, Any]:
    detections = [
        {"_id": ObjectId(), "_cls": "Detection", "attributes": {}, "tags": [], "label": label, "bounding_box": box}
        for label, box in zip(plate.labels, plate.boxes_rel_xywh, strict=True)
    ]
    return {
        "filepath": str(plate.path),
        "last_modified_at": _now(),
        "metadata": {"_cls": "ImageMetadata", **plate.metadata},
        IMPORT_FIELD: {"_cls": "Detections", "detections": detections},
        "agar_background": plate.background,
        "agar_sample_id": plate.sample_id,
        "agar_digest": plate.digest,
    }


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
