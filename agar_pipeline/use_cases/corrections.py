"""What a person changed in FiftyOne on the predictions that `agar view` wrote: plate by plate, with the current boxes.

The predictions as they were written come from the files of the evaluation, or of the counted folder; the database is
only read. Here: the comparison. Not here: the counts and files that follow from it (`corrected_counts`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.box_formats import rel_xywh_to_xywh, xywh_to_rel_xywh
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected, open_database
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.run_values import Values, is_unedited, read_values
from agar_pipeline.scoring.counted_area import inside
from agar_pipeline.snapshots.box_pairing import BoxColumns, Kind, pair_boxes
from agar_pipeline.use_cases.predicted_plates import PredictedPlates

KINDS: tuple[Kind, ...] = ("added", "removed", "relabelled", "moved")
"""What a person can do to a box."""
_NUMBERS = 4


@dataclass(frozen=True)
class Plate:
    """One plate with the boxes that count, and what a person changed."""

    image: str
    """Path of the photo, relative to the folder of the photos."""
    size_wh: tuple[int, int]
    """Pixels of the photo, as displayed."""
    circle_px: tuple[float, float, float]
    """x, y and radius in pixels of the photo; outside nothing counts."""
    predicted: BoxColumns
    """The predictions, in pixels of the photo."""
    boxes: BoxColumns
    """The current boxes in FiftyOne: the predictions, or what a person made of them."""
    changes: Mapping[Kind, int] = field(default_factory=dict)
    """`KINDS` → number of boxes, without zeros."""

    def inside(self, boxes: BoxColumns) -> BoxColumns:
        """Those of the boxes that lie where colonies count."""
        return boxes.rows(inside(boxes.boxes_xywh, self.circle_px))

    @property
    def is_corrected(self) -> bool:
        """Whether a person added, removed, relabelled or moved a box."""
        return bool(self.changes)


@dataclass
class Corrections:
    """The plates of a run, and what was left out."""

    plates: list[Plate] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Photos whose samples were deleted; they are not among the plates."""
    unwritten: list[str] = field(default_factory=list)
    """Photos whose samples have no predictions of the run (any more); they are not among the plates."""
    other_edits: list[str] = field(default_factory=list)
    """Photos on which somebody edited values of the run, but no box: a tag, or the field of missed annotations."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Photo → number of boxes that were left out: without area, or not four finite numbers."""

    def changes(self) -> dict[str, int]:
        """`KINDS` → number of boxes on all plates together."""
        return {kind: sum(plate.changes.get(kind, 0) for plate in self.plates) for kind in KINDS}


def as_predicted(source: PredictedPlates) -> Corrections:
    """Return the plates as they were predicted, without a look at the database."""
    return Corrections(_predicted_plates(source))


def read_corrections(source: PredictedPlates, database: str, home: Path) -> Corrections:
    """Compare the predictions with what FiftyOne holds now; nothing is written.

    Raises:
        DatasetError: the dataset does not exist, or holds no predictions of this run.
    """
    with open_database(database, home) as uri, connected(uri) as mongo:
        document = mongo.datasets.find_one({"name": source.dataset}, {"sample_collection_name": 1})
        if document is None:
            raise DatasetError(
                "is not in this database, so there is nothing that could be corrected",
                where=f"dataset {source.dataset!r}",
                next_step=f"write the predictions again: {source.writer}",
            )
        samples = mongo[document["sample_collection_name"]]
        there = read_values(samples, source.fields, source.boxes.sample_ids)
    found = compare(source, there)
    if not found.plates:
        raise DatasetError(
            f"has no predictions in the field {source.fields.name!r}: they were removed, or never written",
            where=f"dataset {source.dataset!r}",
            next_step=f"write them, and correct them in FiftyOne: {source.writer}",
        )
    return found


def compare(source: PredictedPlates, there: Mapping[str, Values]) -> Corrections:
    """Compare the predictions with the values of the samples, sample id → values."""
    found = Corrections()
    for sample_id, plate in zip(source.boxes.sample_ids, _predicted_plates(source), strict=True):
        values = there.get(sample_id)
        if values is None:
            found.gone.append(plate.image)
        elif not isinstance(values.get(source.fields.name), dict):
            found.unwritten.append(plate.image)
        else:
            found.plates.append(_compare_plate(plate, source.fields, values, found))
    return found


def _compare_plate(plate: Plate, fields: RunFields, values: Values, found: Corrections) -> Plate:
    if is_unedited(fields, values):
        return plate
    boxes, unusable = _read_boxes(values[fields.name].get("detections") or [], plate.size_wh)
    if unusable:
        found.unusable[plate.image] = unusable
    kinds = Counter(kind for kind, _, _ in pair_boxes(plate.predicted, boxes))
    if not kinds and not unusable:
        found.other_edits.append(plate.image)
    return dataclasses.replace(plate, boxes=boxes, changes=kinds)


def predictions_of(source: PredictedPlates) -> list[BoxColumns]:
    """Return the predictions of each plate, in pixels of the photo."""
    boxes = source.boxes
    is_predicted = boxes.kinds != "missed"
    rows, sizes_wh = boxes.plates[is_predicted], source.photo_sizes_wh
    shares = xywh_to_rel_xywh(boxes.boxes_xywh[is_predicted], boxes.sizes_wh[rows])
    boxes_xywh, labels = rel_xywh_to_xywh(shares, sizes_wh[rows]), boxes.labels[is_predicted]
    starts = np.searchsorted(rows, np.arange(len(source.images) + 1))
    return [_columns(labels[low:high], boxes_xywh[low:high]) for low, high in itertools.pairwise(starts)]


def _read_boxes(detections: Iterable[Mapping[str, Any]], size_wh: tuple[int, int]) -> tuple[BoxColumns, int]:
    """Return a sample's detections as FiftyOne stores them, and the number of those that are no boxes."""
    labels, shares, unusable = [], [], 0
    for detection in detections:
        box = detection.get("bounding_box")
        if not _is_box(box):
            unusable += 1
            continue
        labels.append(detection.get("label"))
        shares.append(box)
    boxes_xywh = rel_xywh_to_xywh(np.array(shares, dtype=np.float64).reshape(-1, _NUMBERS), np.array(size_wh))
    return _columns(np.array(labels, dtype=object), boxes_xywh), unusable


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != _NUMBERS or not all(isinstance(side, int | float) for side in box):
        return False
    return bool(np.isfinite(box).all() and box[2] > 0 and box[3] > 0)


def _columns(labels: np.ndarray, boxes_xywh: np.ndarray) -> BoxColumns:
    """Boxes without attributes: only labels and places are compared."""
    return BoxColumns(labels, boxes_xywh, np.full((len(labels), 2), None, dtype=object))


def _predicted_plates(source: PredictedPlates) -> list[Plate]:
    sizes_wh = [(int(width), int(height)) for width, height in source.photo_sizes_wh.tolist()]
    circles_px = [(x, y, radius) for x, y, radius in source.circles_px.tolist()]
    rows = zip(source.images, sizes_wh, circles_px, predictions_of(source), strict=True)
    return [Plate(image, size_wh, circle_px, boxes, boxes) for image, size_wh, circle_px, boxes in rows]
