"""Writes the predictions of a run onto their samples, as plain documents in bulk writes.

Here: building the documents, and finding samples that no longer exist. Not here: comparing with existing values
(`run_values`), FiftyOne's schema and saved views (`run_fields`), choosing the run (`viewing`).

FiftyOne's own `evaluate_detections` is not used: it compares every box of a plate with every other one in Python, and
the kinds of the predictions are already known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bson import ObjectId
from pymongo.collection import Collection

from agar_pipeline.coco.box_formats import xywh_to_rel_xywh
from agar_pipeline.fiftyone_io.database.documents import detection, detections
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.run_values import seal, write_values


@dataclass(frozen=True)
class PlateBoxes:
    """The B boxes of one run on N plates, grouped by plate."""

    sample_ids: list[str]
    """(N,) sample ids of the plates."""
    sizes_wh: np.ndarray
    """(N, 2) width and height in pixels of the images that the boxes refer to."""
    count_errors: np.ndarray
    """(N,) predicted minus annotated colonies; zeros if there are no annotations."""
    plates: np.ndarray
    """(B,) row of the plate of each box, ascending."""
    labels: np.ndarray
    """(B,) class names."""
    kinds: np.ndarray
    """(B,) kinds of detections as in `scoring.matching`; `missed` for an annotation without a detection; any
    other text if there are no annotations."""
    scores: np.ndarray
    """(B,) NaN for a missed annotation."""
    boxes_xywh: np.ndarray
    """(B, 4) x, y, width and height in pixels."""

    def worst(self) -> list[str]:
        """Sort the sample ids by absolute count error, largest first; ties by number of wrong boxes, largest first."""
        wrong = np.bincount(self.plates[self.kinds != "true_positive"], minlength=len(self.sample_ids))
        order = np.lexsort((-wrong, -np.abs(self.count_errors)))
        return [self.sample_ids[row] for row in order]


def find_gone(samples: Collection, sample_ids: list[str]) -> set[str]:
    wanted = {"_id": {"$in": [ObjectId(sample_id) for sample_id in sample_ids]}}
    return set(sample_ids) - {str(row["_id"]) for row in samples.find(wanted, {"_id": 1})}


def write_back(samples: Collection, fields: RunFields, boxes: PlateBoxes, *, overwrite: bool = False) -> list[str]:
    """Set the run's fields on every sample that still exists and whose values nobody edited.

    Returns:
        File names of the photos whose edited values were kept; with `overwrite`, only those edited during the write.
    """
    ids = [ObjectId(sample_id) for sample_id in boxes.sample_ids]
    values = (seal(fields, document) for document in _documents(fields, boxes))
    return write_values(samples, fields, dict(zip(ids, values, strict=True)), overwrite=overwrite)


def _documents(fields: RunFields, boxes: PlateBoxes) -> list[dict[str, Any]]:
    predicted: list[list[dict[str, Any]]] = [[] for _ in boxes.sample_ids]
    missed: list[list[dict[str, Any]]] = [[] for _ in boxes.sample_ids]
    boxes_rel_xywh = xywh_to_rel_xywh(boxes.boxes_xywh, boxes.sizes_wh[boxes.plates])
    columns = (boxes.plates, boxes.labels, boxes.kinds, boxes.scores, boxes_rel_xywh)
    for plate, label, kind, score, box in zip(*(column.tolist() for column in columns), strict=True):
        found = detection(label, box, **({"kind": kind} if fields.compared else {}))
        if kind == "missed":
            missed[plate].append(found)
        else:
            predicted[plate].append({**found, "confidence": score})
    values = [
        {
            fields.name: detections(found),
            fields.missed: detections(lost),
            fields.count_error: int(error),
        }
        for found, lost, error in zip(predicted, missed, boxes.count_errors.tolist(), strict=True)
    ]
    return [{name: plate[name] for name in fields.names} for plate in values]
