"""COCO's metrics (mAP and mAR), but without COCO's limit of 100 detections per image.

Here: mAP and mAR computed by hotcoco, through its own API; a test compares them with pycocotools. Not here: counting
(`counting`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import hotcoco
import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.errors import AnnotationError

LEAST_MAX_DETECTIONS = 100
"""COCO's own limit. If no image has more detections, the figures equal COCO's to the last bit."""
IMAGES_AT_ONCE = 256
NO_ANNOTATION = "no annotation"
"""The reason of all metrics that are null because the part has no annotated box."""


def coco_metrics(columns: CocoColumns, detections: Detections) -> dict[str, Any]:
    """COCO metrics in [0, 1], None where undefined.

    The limit on detections is the largest number that any image has (at least 100), so nothing is cut off on crowded
    plates: a perfect detector scores 1 for any number of colonies. The areas for small, medium and large are measured
    in pixels of the photo.

    Returns:
        map, map_50, map_75, map_small, map_medium, map_large, mar_max, max_detections; `per_class`: name → map, map_50,
        num_annotations; `precision_recall`: name → 101 precisions at IoU 0.5, at recalls of 0, 0.01 … 1; `reasons`:
        metric → why it is None.

    Raises:
        AnnotationError: a detection belongs to an image or category that the annotations do not list.
    """
    require_known_ids(columns, detections)
    columns, detections = in_photo_pixels(columns, detections)
    precision, recall = _curves(columns, detections)
    metrics: dict[str, Any] = {
        "map": _mean(precision[:, :, :, 0]),
        "map_50": _mean(precision[0, :, :, 0]),
        "map_75": _mean(precision[5, :, :, 0]),
        "map_small": _mean(precision[:, :, :, 1]),
        "map_medium": _mean(precision[:, :, :, 2]),
        "map_large": _mean(precision[:, :, :, 3]),
        "mar_max": _mean(recall[:, :, 0]),
        "max_detections": largest_count(detections),
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
    metrics["precision_recall"] = {
        columns.class_names[np.flatnonzero(columns.category_ids == category)[0]]: _curve(precision[0, :, k, 0])
        for k, category in enumerate(np.sort(columns.category_ids))
    }
    metrics["reasons"] = _explain_undefined(metrics, detections.why_undefined)
    return metrics


def _curve(precision: np.ndarray) -> list[float] | None:
    return None if (precision < 0).any() else precision.tolist()


def require_known_ids(columns: CocoColumns, detections: Detections) -> None:
    """Raise AnnotationError if a detection belongs to an image or category that the annotations do not list."""
    for what, values, known in (
        ("image_id", detections.image_ids, columns.image_ids),
        ("category_id", detections.category_ids, columns.category_ids),
    ):
        unknown = np.setdiff1d(values, known)
        if len(unknown):
            raise AnnotationError(
                f"the predictions have {len(unknown)} {what}s that the annotations do not have, first {unknown[0]}",
                next_step="give the COCO file that the predictions were made for, with --json",
            )


def in_photo_pixels(columns: CocoColumns, detections: Detections) -> tuple[CocoColumns, Detections]:
    """Convert both to pixels of the photos, if a cache contains smaller copies.

    The limits for small, medium and large apply to these pixels.
    """
    upscaled = columns.in_photo_pixels()
    if upscaled is columns:
        return columns, detections
    order = np.argsort(columns.image_ids, kind="stable")
    rows = order[np.searchsorted(columns.image_ids, detections.image_ids, sorter=order)]
    boxes_xywh = detections.boxes_xywh / columns.scale_xywh()[rows]
    return upscaled, dataclasses.replace(detections, boxes_xywh=boxes_xywh)


def ap_50_per_class(columns: CocoColumns, detections: Detections) -> np.ndarray:
    """(K,) average precision at IoU 0.5 by ascending category_id; NaN for a class without annotations."""
    if not len(columns.image_ids) or not len(columns.annotation_ids) or detections.why_undefined:
        return np.full(len(columns.category_ids), np.nan)
    precision = accumulated(evaluate(columns, detections, iou_thresholds=[0.5]))[0][0, :, :, 0]
    defined = np.where(precision > -1, precision, np.nan)
    return defined.mean(axis=0)


def evaluate(
    columns: CocoColumns,
    detections: Detections,
    iou_thresholds: list[float] | None = None,
    max_detections: int | None = None,
) -> hotcoco.COCOeval:
    """Match and accumulate with hotcoco's streaming evaluator; memory does not grow with the number of images.

    Args:
        columns: The ground truth; at least one image.
        detections: Detections on these images, with these categories.
        iou_thresholds: Used instead of COCO's ten; then COCO's three box sizes are not evaluated either.
        max_detections: Limit per image and class; default: nothing is cut off.
    """
    params = hotcoco.Params("bbox")
    params.max_dets = [1, 10, max_detections or largest_count(detections)]  # set as a whole, since reads are copies
    if iou_thresholds is not None:
        params.iou_thrs, params.area_rng, params.area_rng_lbl = iou_thresholds, [[0.0, 1e10]], ["all"]
    names = zip(columns.category_ids.tolist(), columns.class_names, strict=True)
    streaming = hotcoco.StreamingEval([{"id": i, "name": name} for i, name in names], "bbox", params=params)
    order, starts = columns.rows_of_images()
    by_image = np.argsort(detections.image_ids, kind="stable")
    sorted_ids = detections.image_ids[by_image]
    ascending = np.argsort(columns.image_ids, kind="stable")
    for first in range(0, len(ascending), IMAGES_AT_ONCE):
        images = ascending[first : first + IMAGES_AT_ONCE]
        rows = np.concatenate([order[starts[i] : starts[i + 1]] for i in images])
        ids = columns.image_ids[images]
        mine = by_image[np.searchsorted(sorted_ids, ids[0]) : np.searchsorted(sorted_ids, ids[-1], side="right")]
        streaming.update(_images(columns, images), _annotations(columns, rows), _results(detections.take(mine)))
    evaluation = streaming.finalize()
    evaluation.accumulate()
    return evaluation


def accumulated(evaluation: hotcoco.COCOeval) -> tuple[np.ndarray, np.ndarray]:
    """Precision (T, 101, K, A) and recall (T, K, A) at the largest limit, −1 where undefined; K is ordered by
    category_id.
    """
    arrays = evaluation.eval
    assert arrays is not None
    return np.asarray(arrays["precision"])[..., -1], np.asarray(arrays["recall"])[..., -1]


def largest_count(detections: Detections) -> int:
    """The smallest limit that cuts off nothing in any image, but at least COCO's own."""
    counts = np.unique(detections.image_ids, return_counts=True)[1]
    return max(LEAST_MAX_DETECTIONS, int(counts.max(initial=0)))


def _images(columns: CocoColumns, rows: np.ndarray) -> list[dict[str, Any]]:
    sizes_wh = columns.sizes_wh[rows].tolist()
    return [
        {"id": i, "file_name": "", "width": width, "height": height}
        for i, (width, height) in zip(columns.image_ids[rows].tolist(), sizes_wh, strict=True)
    ]


def _annotations(columns: CocoColumns, rows: np.ndarray) -> list[dict[str, Any]]:
    boxes_xywh = columns.boxes_xywh[rows]
    values = zip(
        (rows + 1).tolist(),  # new ids, because hotcoco takes the id 0 for "not matched"
        columns.annotation_image_ids[rows].tolist(),
        columns.annotation_category_ids[rows].tolist(),
        boxes_xywh.tolist(),
        boxes_xywh[:, 2:].prod(axis=1).tolist(),
        columns.iscrowd[rows].astype(int).tolist(),
        strict=True,
    )
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    return [dict(zip(keys, row, strict=True)) for row in values]


def _results(detections: Detections) -> np.ndarray:
    columns = [detections.image_ids, detections.boxes_xywh, detections.scores, detections.category_ids]
    return np.column_stack(columns).astype(np.float64).reshape(-1, 7)


def _curves(columns: CocoColumns, detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Precision (10 IoUs, 101 recalls, K, 4 areas) and recall (10, K, 4), −1 where undefined; K by category_id."""
    if not len(columns.image_ids) or not len(columns.annotation_ids) or detections.why_undefined:
        shape = (10, 101, len(columns.category_ids), 4)
        return np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0)
    return accumulated(evaluate(columns, detections))


def _mean(values: np.ndarray) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else None


def _explain_undefined(metrics: dict[str, Any], why: str | None) -> dict[str, str]:
    """Metric → why it is None.

    `why` is the reason if no metric at all could be computed, else None.
    """
    sizes = {"map_small": "under 32² px", "map_medium": "from 32² to 96² px", "map_large": "over 96² px"}
    reasons = {
        name: why or (f"no annotation {sizes[name]}" if name in sizes else NO_ANNOTATION)
        for name, value in metrics.items()
        if value is None
    }
    per_class: Iterable[tuple[str, dict[str, Any]]] = metrics["per_class"].items()
    absent = why or "no annotation of this class"
    reasons |= {f"per_class.{name}": absent for name, own in per_class if own["map"] is None}
    return reasons
