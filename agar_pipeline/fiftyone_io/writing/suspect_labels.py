"""Builds suspects as FiftyOne stores them, each with the annotation that it is about.

A snapshot does not hold the ids of labels, so an annotation is found again by its place, label and box. Suspects of
annotations that changed since the snapshot are left out. Here: values. Not here: writing them (`run_values`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bson import ObjectId

from agar_pipeline.coco.box_formats import rel_xywh_to_xywh, turn_back_rel_xywh, turn_rel_xywh, xywh_to_rel_xywh
from agar_pipeline.fiftyone_io.database.documents import detection
from agar_pipeline.review.evidence import MISSED
from agar_pipeline.review.overlaps import find_overlaps
from agar_pipeline.scoring.matching import FOUND_IOU

Detection = dict[str, Any]
"""A label as FiftyOne stores it."""


@dataclass(frozen=True)
class ReviewedPhoto:
    """A photo of a snapshot, with its B boxes there."""

    sample_id: str
    path: str
    size_wh: tuple[float, float]
    """Width and height as displayed, pixels."""
    reviewed_wh: tuple[float, float]
    """Width and height that the boxes of the suspects refer to, pixels."""
    first_box_id: int
    labels: list[str | None]
    boxes_xywh: np.ndarray
    """(B, 4) pixels of the photo as displayed."""
    orientation: int = 1
    """EXIF orientation, if the boxes in FiftyOne are drawn on the photo as stored."""

    def find(self, box_id: int, present: list[Detection]) -> Detection | None:
        """Return the label that a box of the snapshot was read from; None if it changed, or is one of several."""
        place = box_id - self.first_box_id
        if place < len(present) and self._is(present[place], place):
            return present[place]
        same = [one for one in present if self._is(one, place)]
        return same[0] if len(same) == 1 else None

    def in_shares(self, box_xywh: Iterable[float]) -> list[float]:
        """Return a suspect's box as FiftyOne stores it."""
        shares = xywh_to_rel_xywh(np.array([list(box_xywh)]), np.array([self.reviewed_wh]))
        return [float(side) for side in turn_back_rel_xywh(shares, np.array([self.orientation]))[0]]

    def _is(self, one: Detection, place: int) -> bool:
        if one.get("label") != self.labels[place]:
            return False
        box = box_of(one)
        if box is None:
            return False
        shares = turn_rel_xywh(np.array([box]), np.array([self.orientation]))
        return bool(np.array_equal(rel_xywh_to_xywh(shares, np.array([self.size_wh]))[0], self.boxes_xywh[place]))


@dataclass
class PlacedSuspects:
    """Suspects on their samples, and those that could not be placed."""

    labels: dict[str, list[Detection]] = field(default_factory=dict)
    """Sample id → its suspects, the most probable first."""
    count: int = 0
    changed: list[str] = field(default_factory=list)
    """Paths of the photos of suspects that were left out, because the labels changed since the snapshot."""


def place_suspects(
    suspects: Iterable[Mapping[str, Any]],
    photos: Mapping[int, ReviewedPhoto],
    present: Mapping[str, list[Detection]],
    class_names: Mapping[int, str],
) -> PlacedSuspects:
    """Build the labels of suspects.

    Args:
        suspects: Rows of `LabelReview.suspects` with `suspect_id` and `reason`; None where nothing is known.
        photos: image_id → photo.
        present: Sample id → the labels that it has now; samples that no longer exist are missing, and left out.
        class_names: category_id → class name.
    """
    placed = PlacedSuspects()
    for row in suspects:
        photo = photos[row["image_id"]]
        if photo.sample_id not in present:
            continue
        labels = _labels_of(row, photo, present[photo.sample_id], class_names)
        if labels is None:
            placed.changed.append(photo.path)
        else:
            placed.labels.setdefault(photo.sample_id, []).extend(labels)
            placed.count += 1
    return placed


def covers(present: Iterable[Detection], box_rel_xywh: list[float]) -> bool:
    boxes = np.array([box for one in present if (box := box_of(one)) is not None], np.float64).reshape(-1, 4)
    here = np.zeros(1, np.int64)
    pairs = find_overlaps(np.array([box_rel_xywh]), here, boxes, np.zeros(len(boxes), np.int64))
    return bool((pairs.iou >= FOUND_IOU).any())


def is_at(one: Detection | None, label: str | None, box_rel_xywh: list[float]) -> bool:
    return one is not None and one.get("label") == label and box_of(one) == box_rel_xywh


def labels_at(sample: Mapping[str, Any], path: str) -> list[Detection]:
    """Return the labels of a sample at the path of their list; entries that are no labels are left out."""
    value: Any = sample
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def box_of(one: Detection) -> list[float] | None:
    """Return the box of a label; None if it is not four numbers, since boxes are stored unchecked."""
    box = one.get("bounding_box")
    is_box = isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box)
    return [float(side) for side in box] if is_box and box is not None else None


def _labels_of(
    row: Mapping[str, Any], photo: ReviewedPhoto, present: list[Detection], class_names: Mapping[int, str]
) -> list[Detection] | None:
    """One label, or two for two colonies in one box; None if the labels changed."""
    boxes = [photo.in_shares(box) for box in row["suggested_boxes_xywh"]]
    if row["kind"] == MISSED:
        if covers(present, boxes[0]):
            return None
        label, about = class_names[int(row["suggested_category_id"])], _about(None, None)
    else:
        found, other = photo.find(int(row["annotation_id"]), present), None
        if found is not None and row["other_annotation_id"] is not None:
            other = photo.find(int(row["other_annotation_id"]), present)
            found = found if other is not None else None
        if found is None:
            return None
        label, about = found["label"], _about(found, other)
        if row["kind"] == "wrong_class":
            label = class_names[int(row["suggested_category_id"])]
        if row["kind"] in ("box_too_many", "double_box", "wrong_class"):
            boxes = [box_of(found) or []]
    words = {"kind": row["kind"], "reason": row["reason"], "suspect_id": row["suspect_id"], **about}
    return [
        detection(label, box, confidence=float(row["score"]), **words) | {"_id": _label_id(row["suspect_id"], place)}
        for place, box in enumerate(boxes)
    ]


def _about(annotation: Detection | None, other: Detection | None) -> dict[str, Any]:
    """Which annotation a suspect is about, and as it is now, so that a later change of it is noticed."""
    return {
        "annotation_id": None if annotation is None else str(annotation["_id"]),
        "annotated_label": None if annotation is None else annotation.get("label"),
        "annotated_box": None if annotation is None else box_of(annotation),
        "other_annotation_id": None if other is None else str(other["_id"]),
    }


def _label_id(suspect_id: str, place: int) -> ObjectId:
    """The suspect's id, for the second box one that follows from it: a person can name the suspect by its label."""
    return ObjectId(suspect_id if place == 0 else hashlib.sha256(f"{suspect_id}/{place}".encode()).hexdigest()[:24])
