"""How good detections are, in COCO's terms, without its cap of 100.

Here: mAP and mAR by hotcoco, its own API, held to pycocotools by a test. Not here: counting (`counting`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hotcoco
import numpy as np

from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.detections import Detections
from agar_pipeline.errors import AnnotationError

LEAST_MAX_DETECTIONS = 100
"""COCO's own cap: with no image above it the figures are COCO's to the last bit."""


def coco_metrics(columns: CocoColumns, detections: Detections) -> dict[str, Any]:
    """COCO metrics in [0, 1], None where undefined.

    The cap on detections is the most that any image has (at least 100), so nothing is cut off on crowded plates: a
    perfect detector scores 1 however many colonies there are. Areas of small, medium and large are on the photo.

    Returns:
        map, map_50, map_75, map_small, map_medium, map_large, mar_max, max_detections; `per_class`: name → map,
        map_50, num_annotations; `reasons`: metric → why it is None.

    Raises:
        AnnotationError: a detection is of an image or category that the annotations do not list.
    """
    _check_references(columns, detections)
    most = int(np.unique(detections.image_ids, return_counts=True)[1].max()) if len(detections) else 0
    max_detections = max(LEAST_MAX_DETECTIONS, most)
    precision, recall = _evaluate(columns, detections, max_detections)
    metrics: dict[str, Any] = {
        "map": _mean(precision[:, :, :, 0]),
        "map_50": _mean(precision[0, :, :, 0]),
        "map_75": _mean(precision[5, :, :, 0]),
        "map_small": _mean(precision[:, :, :, 1]),
        "map_medium": _mean(precision[:, :, :, 2]),
        "map_large": _mean(precision[:, :, :, 3]),
        "mar_max": _mean(recall[:, :, 0]),
        "max_detections": max_detections,
    }
    counts = {c: int(((columns.annotation_category_ids == c) & ~columns.iscrowd).sum()) for c in columns.category_ids}
    metrics["per_class"] = {
        columns.class_names[np.flatnonzero(columns.category_ids == category)[0]]: {
            "map": _mean(precision[:, :, k, 0]),
            "map_50": _mean(precision[0, :, k, 0]),
            "num_annotations": counts[category],
        }
        for k, category in enumerate(np.sort(columns.category_ids))
    }
    metrics["reasons"] = _explain_undefined(metrics)
    return metrics


def _check_references(columns: CocoColumns, detections: Detections) -> None:
    for what, values, known in (
        ("image_id", detections.image_ids, columns.image_ids),
        ("category_id", detections.category_ids, columns.category_ids),
    ):
        unknown = np.setdiff1d(values, known)
        if len(unknown):
            raise AnnotationError(
                f"{len(unknown)} {what}s of the predictions are not in the annotations, the first is {unknown[0]}: "
                "they belong to another COCO file"
            )


def _evaluate(columns: CocoColumns, detections: Detections, max_detections: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision (10 IoUs, 101 recalls, K, 4 areas) and recall (10, K, 4), −1 where undefined; K by category_id."""
    images = [
        {"id": i, "file_name": "", "width": w, "height": h}
        for i, (w, h) in zip(columns.image_ids.tolist(), columns.sizes_wh.tolist(), strict=True)
    ]
    categories = [
        {"id": i, "name": name} for i, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True)
    ]
    areas = columns.boxes_xywh[:, 2] * columns.boxes_xywh[:, 3]
    if not images or not len(columns.annotation_ids):
        shape = (10, 101, len(categories), 4)
        return np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0)
    truth = hotcoco.COCO.from_arrays(
        images,
        categories,
        columns.annotation_image_ids,
        columns.annotation_category_ids,
        columns.boxes_xywh,
        ids=np.arange(1, len(areas) + 1),
        area=areas,
        iscrowd=columns.iscrowd,
    )
    rows = np.column_stack([detections.image_ids, detections.boxes_xywh, detections.scores, detections.category_ids])
    evaluation = hotcoco.COCOeval(truth, truth.load_res(rows.astype(np.float64).reshape(-1, 7)), "bbox")
    params = evaluation.params
    params.max_dets = [1, 10, max_detections]  # the whole list at once: reads are copies
    params.img_ids = sorted(columns.image_ids.tolist())
    evaluation.evaluate()
    evaluation.accumulate()
    arrays = evaluation.eval
    assert arrays is not None
    return np.asarray(arrays["precision"])[..., -1], np.asarray(arrays["recall"])[..., -1]


def _mean(values: np.ndarray) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else None


def _explain_undefined(metrics: dict[str, Any]) -> dict[str, str]:
    sizes = {"map_small": "under 32² px", "map_medium": "from 32² to 96² px", "map_large": "over 96² px"}
    reasons = {
        name: f"no annotation {sizes[name]}" if name in sizes else "no annotation"
        for name, value in metrics.items()
        if value is None
    }
    per_class: Iterable[tuple[str, dict[str, Any]]] = metrics["per_class"].items()
    reasons |= {f"per_class.{name}": "no annotation of this class" for name, own in per_class if own["map"] is None}
    return reasons
