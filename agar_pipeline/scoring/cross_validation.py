"""Scores predictions of which each is by a model that was not trained on that image: one figure over all folds.

Here: the figures and their intervals. Not here: folds (`splitting.folds`), formulas (`average_precision`, `counting`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.average_precision import coco_metrics
from agar_pipeline.scoring.uncertainty import COUNT_RESAMPLES, LEVEL, confidence_intervals

SCORES = ("map", "map_50")
FIGURES = (*SCORES, "count_mae", "count_relative")


def cross_validate(
    columns: CocoColumns,
    detections: Detections,
    folds: np.ndarray,
    counts: tuple[np.ndarray, np.ndarray],
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the figures over all images, and those of each fold alone.

    The detections of all folds are ranked together by their scores, as those of one model. Intervals come from
    resampled images, as in `uncertainty`; they do not cover the variation from one training to another.

    Args:
        columns: N images and their annotations.
        detections: Detections on them.
        folds: (N,) fold of each image.
        counts: (N,) predicted and (N,) annotated colonies of each image.

    Returns:
        images, annotations, folds (number), level; `map`, `map_50`, `count_mae` (mean |p − g|, colonies) and
        `count_relative` (Σ|p − g| / Σg), each with value, low, high and per_fold; `reasons`: figure → why it is None.
    """
    intervals = confidence_intervals(columns, detections, *counts, seed=seed)
    of_folds = [_figures(*_take(columns, detections, counts, folds == fold)) for fold in range(int(folds.max()) + 1)]
    values, reasons = _figures(columns, detections, counts)
    limits = {name: intervals[name] for name in SCORES} | _count_intervals(counts, seed)
    figures = {}
    for name in FIGURES:
        low, high = (None, None) if values[name] is None else (limits[name] or (None, None))
        per_fold = [of[name] for of, _ in of_folds]
        figures[name] = {"value": values[name], "low": low, "high": high, "per_fold": per_fold}
    return {
        "images": len(columns.image_ids),
        "annotations": int((~columns.iscrowd).sum()),
        "folds": len(of_folds),
        "level": LEVEL,
        **figures,
        "reasons": reasons,
    }


def _take(
    columns: CocoColumns, detections: Detections, counts: tuple[np.ndarray, np.ndarray], mine: np.ndarray
) -> tuple[CocoColumns, Detections, tuple[np.ndarray, np.ndarray]]:
    rows = np.flatnonzero(mine)
    part = columns.take_images(rows)
    own = detections.take(np.flatnonzero(np.isin(detections.image_ids, part.image_ids)))
    return part, own, (counts[0][rows], counts[1][rows])


def _figures(
    columns: CocoColumns, detections: Detections, counts: tuple[np.ndarray, np.ndarray]
) -> tuple[dict[str, float | None], dict[str, str]]:
    scores = coco_metrics(columns, detections)
    predicted, truth = counts
    error = float(np.abs(predicted - truth).sum())
    values: dict[str, float | None] = {name: scores[name] for name in SCORES}
    values |= {"count_mae": error / len(truth), "count_relative": error / float(truth.sum()) if truth.sum() else None}
    reasons = {name: scores["reasons"][name] for name in SCORES if values[name] is None}
    if detections.why_undefined:
        values |= dict.fromkeys(("count_mae", "count_relative"))
        reasons |= dict.fromkeys(("count_mae", "count_relative"), detections.why_undefined)
    elif values["count_relative"] is None:
        reasons["count_relative"] = "no colony is annotated"
    return values, reasons


def _count_intervals(counts: tuple[np.ndarray, np.ndarray], seed: int) -> dict[str, tuple[float, float]]:
    """Percentiles over resampled images; resamples without an annotated colony have no relative error."""
    predicted, truth = counts
    drawn = np.random.default_rng(seed).integers(0, len(truth), (COUNT_RESAMPLES, len(truth)))
    errors, colonies = np.abs(predicted - truth)[drawn], truth[drawn].sum(axis=1)
    relative = errors.sum(axis=1)[colonies > 0] / colonies[colonies > 0]
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    limits = {"count_mae": np.quantile(errors.mean(axis=1), tails)}
    limits |= {"count_relative": np.quantile(relative, tails)} if len(relative) else {}
    return {name: (float(low), float(high)) for name, (low, high) in limits.items()}
