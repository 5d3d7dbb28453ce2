"""Confidence intervals of the figures, computed by resampling plates with replacement.

Plates are resampled, not boxes, because colonies of one plate share its light, its agar and its crowding. Efron &
Tibshirani, "An Introduction to the Bootstrap" (1993), percentile intervals. Here: intervals, and paired differences of
two models on the same plates. Not here: the variation between training seeds, which needs more than one training
(`reports.literature` has a measured value).
"""

from __future__ import annotations

from typing import Any

import hotcoco
import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.average_precision import evaluate, largest_count

LEVEL = 0.95
RESAMPLES = 200
COUNT_RESAMPLES = 2000
HOTCOCO_NAMES = {"map": "AP", "map_50": "AP50"}


def confidence_intervals(
    columns: CocoColumns, detections: Detections, predicted: np.ndarray, truth: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """95 % intervals over plates.

    Args:
        columns: The ground truth.
        detections: All detections, for average precision.
        predicted: (N,) counted colonies of each image.
        truth: (N,) annotated colonies of each image.

    Returns:
        level, num_images; `map`, `map_50`, `mae`, `me`, `within_10_percent`: [low, high]; None where undefined, then
        with a `reason`.
    """
    names = (*HOTCOCO_NAMES, "mae", "me", "within_10_percent")
    intervals: dict[str, Any] = {"level": LEVEL, "num_images": len(columns.image_ids)}
    if len(columns.image_ids) < 2 or detections.why_undefined:
        return intervals | dict.fromkeys(names) | {"reason": detections.why_undefined or "needs two plates at least"}
    if len(columns.annotation_ids):
        against_nothing = compare_models(columns, detections, Detections.concatenate([]), seed)
        intervals |= {name: [-of["high"], -of["low"]] for name, of in against_nothing.items()}
    else:
        intervals |= dict.fromkeys(HOTCOCO_NAMES) | {"reason": "no annotation"}
    return intervals | _count_intervals(predicted, truth, seed)


def _count_intervals(predicted: np.ndarray, truth: np.ndarray, seed: int) -> dict[str, list[float]]:
    difference = (predicted - truth).astype(np.float64)
    per_plate = {"mae": np.abs(difference), "me": difference, "within_10_percent": np.abs(difference) <= truth / 10}
    drawn = np.random.default_rng(seed).integers(0, len(truth), (COUNT_RESAMPLES, len(truth)))
    tails = [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2]
    return {name: np.percentile(of[drawn].mean(axis=1), tails).tolist() for name, of in per_plate.items()}


def compare_models(
    columns: CocoColumns, first: Detections, second: Detections, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Metrics of the second model minus those of the first, on plates that are resampled together.

    Returns:
        `map` and `map_50`: delta, and low and high of its 95 % interval. If the interval contains 0, the difference is
        within the variation between plates.
    """
    most = max(largest_count(first), largest_count(second))
    before, after = (evaluate(columns, detections, max_detections=most) for detections in (first, second))
    answer = hotcoco.compare(before, after, n_bootstrap=RESAMPLES, seed=seed, confidence=LEVEL)
    return {
        name: {"delta": answer["deltas"][key], "low": answer["ci"][key]["lower"], "high": answer["ci"][key]["upper"]}
        for name, key in HOTCOCO_NAMES.items()
    }
