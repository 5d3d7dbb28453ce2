"""Colonies per plate: how far counts are off, and which score to count from."""

from __future__ import annotations

from typing import Any

import numpy as np

from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.detections import Detections

DENSITIES = ((0, 0, "0"), (1, 30, "1-30"), (31, 100, "31-100"), (101, 300, "101-300"), (301, None, "over 300"))
"""Least and most colonies of a plate, both included; over 300 is too numerous to count."""
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)
DEFAULT_THRESHOLD = 0.5


def count_per_image(columns: CocoColumns, detections: Detections, score_threshold: float) -> tuple[np.ndarray, ...]:
    """(N,) detections with a score of at least the threshold, and (N,) annotations without crowds, image by image."""
    kept = detections.image_ids[detections.scores >= score_threshold]
    truth = columns.annotation_image_ids[~columns.iscrowd]
    return _occurrences(columns.image_ids, kept), _occurrences(columns.image_ids, truth)


def _occurrences(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    found, counts = np.unique(values, return_counts=True)
    by_id = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return np.array([by_id.get(i, 0) for i in ids.tolist()], dtype=np.int64)


def counting_metrics(columns: CocoColumns, detections: Detections, score_threshold: float) -> dict[str, Any]:
    """Counts against truth, p predicted and g annotated colonies of a plate.

    Returns:
        mae: mean |p − g|, colonies. me: mean p − g, colonies: above 0 counts too many. smape: mean of
        200·|p − g| / (p + g), percent, 0 where both are 0. within_10_percent: share of plates with |p − g| ≤ g / 10.
        per_density: the same four and `num_images` for plates of 0, 1–30, 31–100, 101–300 and over 300 annotated
        colonies. None where there is no plate.
    """
    predicted, truth = count_per_image(columns, detections, score_threshold)
    per_density = {}
    for least, most, name in DENSITIES:
        rows = (truth >= least) & (truth <= (most if most is not None else np.inf))
        per_density[name] = {"num_images": int(rows.sum()), **_count_errors(predicted[rows], truth[rows])}
    return {**_count_errors(predicted, truth), "per_density": per_density}


def _count_errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    if not len(truth):
        return {"mae": None, "me": None, "smape": None, "within_10_percent": None}
    difference = (predicted - truth).astype(np.float64)
    total = np.maximum(predicted + truth, 1)
    return {
        "mae": float(np.abs(difference).mean()),
        "me": float(difference.mean()),
        "smape": float((200 * np.abs(difference) / total).mean()),
        "within_10_percent": float((np.abs(difference) <= truth / 10).mean()),
    }


def choose_score_threshold(columns: CocoColumns, detections: Detections) -> float:
    """The score, of 0.05 to 0.95 in steps of 0.01, from which counts have the least MAE; the middle one of equals.

    Choose it on val, use it on test: on the part that it was chosen on, counts look a little better than they are.
    """
    if not len(detections) or not len(columns.image_ids):
        return DEFAULT_THRESHOLD
    errors = []
    for threshold in THRESHOLDS:
        predicted, truth = count_per_image(columns, detections, threshold)
        errors.append(np.abs(predicted - truth).mean())
    best = np.flatnonzero(np.asarray(errors) == np.min(errors))
    return float(THRESHOLDS[best[len(best) // 2]])
