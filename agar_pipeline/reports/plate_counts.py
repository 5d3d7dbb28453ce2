"""What was counted on each plate, for the pictures and the scatter of the evaluation page.

Here: boxes grouped by image, and a greedy match at IoU 0.5. Not here: metrics; those of the evaluation are taken as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agar_pipeline.detection.coco import CocoColumns

MATCH_IOU = 0.5


@dataclass(frozen=True)
class PlateCount:
    """One plate: N annotated colonies, M predicted ones above the threshold."""

    image_id: int
    file_name: str
    truth_xywh: np.ndarray
    """(N, 4)."""
    predicted_xywh: np.ndarray
    """(M, 4), highest score first."""
    found: np.ndarray
    """(N,) bool: the colony has a prediction of its class."""
    right: np.ndarray
    """(M,) bool: the prediction has a colony of its class."""

    @property
    def error(self) -> int:
        """Predicted minus annotated."""
        return len(self.predicted_xywh) - len(self.truth_xywh)

    @property
    def matched_share(self) -> float:
        """Matched boxes among all boxes, annotated and predicted; 1 where there are none."""
        boxes = len(self.found) + len(self.right)
        return float(self.found.sum() + self.right.sum()) / boxes if boxes else 1.0


def count_plates(
    columns: CocoColumns, predictions: Sequence[dict[str, Any]], score_threshold: float
) -> list[PlateCount]:
    """One count for each image, in the order of the COCO file; crowd regions are no colonies."""
    kept = sorted((p for p in predictions if p["score"] >= score_threshold), key=lambda p: -p["score"])
    predicted_by_image: dict[int, list[dict[str, Any]]] = {}
    for prediction in kept:
        predicted_by_image.setdefault(int(prediction["image_id"]), []).append(prediction)
    order, starts = columns.rows_of_images()
    plates = []
    for index, image_id in enumerate(columns.image_ids.tolist()):
        rows = order[starts[index] : starts[index + 1]]
        rows = rows[~columns.iscrowd[rows]]
        predicted = predicted_by_image.get(image_id, [])
        truth_xywh = columns.boxes_xywh[rows]
        predicted_xywh = np.array([p["bbox"] for p in predicted], dtype=np.float64).reshape(-1, 4)
        predicted_ids = np.array([p["category_id"] for p in predicted], dtype=np.int64)
        same_class = columns.annotation_category_ids[rows][:, None] == predicted_ids
        found, right = greedy_match(iou_xywh(truth_xywh, predicted_xywh) * same_class)
        plates.append(PlateCount(image_id, str(columns.file_names[index]), truth_xywh, predicted_xywh, found, right))
    return plates


def iou_xywh(boxes_a_xywh: np.ndarray, boxes_b_xywh: np.ndarray) -> np.ndarray:
    """Overlap of each box with each: (N, 4) and (M, 4) to (N, M) in [0, 1]."""
    a, b = boxes_a_xywh[:, None], boxes_b_xywh[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def greedy_match(iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each prediction, in order, takes the free colony that it covers best.

    Args:
        iou: (N, M) overlap of colonies and predictions.

    Returns:
        (N,) and (M,) bool, matched at `MATCH_IOU` or more.
    """
    found, right = np.zeros(iou.shape[0], dtype=bool), np.zeros(iou.shape[1], dtype=bool)
    for prediction in np.flatnonzero((iou >= MATCH_IOU).any(axis=0)):
        free = np.where(found, 0.0, iou[:, prediction])
        best = int(free.argmax())
        if free[best] >= MATCH_IOU:
            found[best] = right[prediction] = True
    return found, right


def choose_plates(plates: Sequence[PlateCount], most: int) -> tuple[list[PlateCount], list[PlateCount]]:
    """The worst plates by count error, then by matched share; and ordinary ones around the middle of that ranking."""
    ranked = sorted(plates, key=lambda plate: (-abs(plate.error), plate.matched_share, plate.image_id))
    worst_count = min(len(ranked), -(-2 * most // 3))
    rest = ranked[worst_count:]
    median_count = min(len(rest), most - worst_count)
    first = max(0, min(len(ranked) // 2 - worst_count - median_count // 2, len(rest) - median_count))
    return ranked[:worst_count], rest[first : first + median_count]
