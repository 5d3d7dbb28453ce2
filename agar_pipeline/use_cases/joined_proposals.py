"""Photos whose proposals a person has corrected join the pipeline's dataset: `agar review --join`.

Only photos with the tag `annotated` join, because only the person knows which photos are finished. Samples that are in
the pipeline's dataset already are never changed. Here: the order of the steps. Not here: how samples are written
(`joined_samples`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from pymongo.database import Database

from agar_pipeline.coco.box_formats import turn_back_rel_xywh
from agar_pipeline.config import SnapshotConfig, Spellings
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected
from agar_pipeline.fiftyone_io.database.revision import open_for_writing
from agar_pipeline.fiftyone_io.reading.source import detections_fields
from agar_pipeline.fiftyone_io.writing.counted_samples import mark_of
from agar_pipeline.fiftyone_io.writing.joined_samples import Sample, find_paths, insert_annotated, read_tagged
from agar_pipeline.progress import Log
from agar_pipeline.use_cases.counted_folder import ANNOTATED, FIELDS
from agar_pipeline.use_cases.reviewed_photos import find_orientation

_SIDES = 4
Boxes = list[tuple[str, list[float]]]


@dataclass(frozen=True)
class Joined:
    """The result of `join_proposals`."""

    dataset: str
    """The pipeline's."""
    added: list[str]
    """Paths of the photos that joined it."""
    boxes: int
    """Number of their annotations."""
    there: list[str]
    """Paths of those that it held already; they were not changed."""
    waiting: int
    """Number of photos without the tag."""


def join_proposals(
    proposals: str,
    class_map: Mapping[str, int],
    source: SnapshotConfig,
    home: Path,
    log: Log,
    *,
    migrate: bool = False,
) -> Joined:
    """Insert the annotated photos of a dataset of proposals into the pipeline's dataset.

    Raises:
        DatasetError: one of the datasets does not exist or cannot be used; no photo has the tag; a photo has no boxes
            field, or a box that is none or of no class, or is not in the pipeline's `images_dir`; or the pipeline's
            boxes are drawn on photos as stored, and a photo cannot be opened. Nothing was written.
    """
    with open_for_writing(source.database, home, source.dataset, log, migrate=migrate) as uri, connected(uri) as mongo:
        document = _proposals(mongo, proposals)
        target = _target(mongo, source)
        samples = mongo[document["sample_collection_name"]]
        tagged, total = read_tagged(samples, ANNOTATED, FIELDS.name), samples.count_documents({})
        if not tagged:
            raise DatasetError(
                f"has no photo with the tag {ANNOTATED!r}, so nobody has said which photos are annotated",
                where=f"dataset {proposals!r}",
                next_step=f"correct the boxes of a photo in FiftyOne, then give the photo the tag {ANNOTATED!r}",
            )
        annotated = _annotations(tagged, class_map, proposals)
        receiving = mongo[target["sample_collection_name"]]
        there = find_paths(receiving, [str(sample["filepath"]) for sample in tagged])
        new = [(sample, boxes) for sample, boxes in annotated if sample["filepath"] not in there]
        _require_inside([sample for sample, _ in new], source.images_dir, proposals)
        if source.exif == "stored":
            new = [(sample, _as_stored(sample, boxes)) for sample, boxes in new]
        insert_annotated(receiving, target["_id"], source.label_field, new)
    added, boxes = [str(sample["filepath"]) for sample, _ in new], sum(len(boxes) for _, boxes in new)
    return Joined(source.dataset, added, boxes, sorted(there), total - len(tagged))


def _proposals(mongo: Database, name: str) -> dict[str, Any]:
    document = mongo.datasets.find_one({"name": name})
    if document is None or mark_of(document) is None:
        raise DatasetError(
            "is not in this database" if document is None else "was not made by `agar review --unlabelled`",
            where=f"dataset {name!r}",
            next_step="give the name that `agar review --unlabelled` printed",
        )
    return document


def _target(mongo: Database, source: SnapshotConfig) -> dict[str, Any]:
    document = mongo.datasets.find_one({"name": source.dataset})
    if document is None or source.label_field not in detections_fields(document) or "." in source.label_field:
        raise DatasetError(
            "is not in this database"
            if document is None
            else f"cannot receive annotations in the field {source.label_field!r}, which is no field of boxes",
            where=f"the pipeline's dataset {source.dataset!r}",
            next_step="correct dataset and label_field in the pipeline file; a field inside another one cannot be used",
        )
    return document


def _annotations(
    tagged: list[dict[str, Any]], class_map: Mapping[str, int], proposals: str
) -> list[tuple[Sample, Boxes]]:
    """The boxes of each photo, with labels that the pipeline knows."""
    found: list[tuple[Sample, Boxes]] = []
    for sample in tagged:
        value = sample.get(FIELDS.name)
        if not isinstance(value, dict):
            raise _refused(sample, proposals, f"has no boxes field {FIELDS.name!r}", "remove the tag from the photo")
        boxes = value.get("detections") or []
        found.append((sample, [(one.get("label"), one.get("bounding_box")) for one in boxes]))
    match = Spellings(class_map).match(label for _, boxes in found for label, _ in boxes)
    for photo, boxes in found:
        for label, box in boxes:
            if label not in match.category_ids:
                classes = f"give the box one of these labels in FiftyOne: {', '.join(class_map)}"
                raise _refused(photo, proposals, f"has a box of no class ({match.explain_unknown(label)})", classes)
            if not isinstance(box, list) or len(box) != _SIDES:
                raise _refused(photo, proposals, f"has a box that is none: {box!r}", "delete this box in FiftyOne")
    return found


def _require_inside(samples: list[Sample], images_dir: str | None, proposals: str) -> None:
    if images_dir is None:
        return
    root = Path(os.path.abspath(os.path.expanduser(images_dir)))  # noqa: PTH100, PTH111 - as snapshots find it
    for sample in samples:
        if not Path(str(sample["filepath"])).is_relative_to(root):
            next_step = "move the photo there and choose again, or change snapshot.images_dir"
            raise _refused(sample, proposals, f"is not in snapshot.images_dir, {root}", next_step)


def _as_stored(sample: Sample, boxes: Boxes) -> Boxes:
    """The boxes of a photo, which are drawn on it as displayed, as the boxes of the pipeline's dataset are drawn."""
    if not boxes:
        return boxes
    orientation = find_orientation(Path(str(sample["filepath"])))
    shares = np.array([box for _, box in boxes], np.float64)
    turned = turn_back_rel_xywh(shares, np.full(len(boxes), orientation))
    return [(label, box) for (label, _), box in zip(boxes, turned.tolist(), strict=True)]


def _refused(sample: Sample, dataset: str, what: str, next_step: str) -> DatasetError:
    name = Path(str(sample["filepath"])).name
    return DatasetError(f"{what}; nothing joined", where=f"{name} in dataset {quote(dataset)}", next_step=next_step)
