"""How far a score can be read as a probability: the share of right detections among those of about the same score.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017): ten bins of the score, and the expected calibration
error. Detections are matched as everywhere (`matching`), once over all scores. hotcoco has the same figures for all
classes together; a test compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.matching import match_detections

BINS = 10


def reliability(columns: CocoColumns, detections: Detections) -> dict[str, dict[str, Any] | None]:
    """For each class, how often its detections of each bin of the score are right at IoU 0.5.

    Returns:
        Name of the class, by ascending category_id → `score` (mean of the bin), `precision` (share of right ones) and
        `count`, ten values each with None in an empty bin, and `ece`, the mean of |score − precision| over the
        detections. None for a class without a detection, and for all classes where detections are missing.
    """
    if detections.why_undefined:
        return dict.fromkeys(columns.class_names)
    kinds = match_detections(columns, detections).detection_kinds
    not_ignored = kinds != "ignored"
    found = {}
    for category_id, name in sorted(zip(columns.category_ids.tolist(), columns.class_names, strict=True)):
        mine = not_ignored & (detections.category_ids == category_id)
        found[name] = _bins(detections.scores[mine], kinds[mine] == "true_positive") if mine.any() else None
    return found


def _bins(scores: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    places = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    counts, score_sums, rights = (np.bincount(places, of, BINS) for of in (np.ones(len(scores)), scores, right))
    return {
        "score": _ratios(score_sums, counts),
        "precision": _ratios(rights, counts),
        "count": counts.astype(int).tolist(),
        "ece": float(np.abs(score_sums - rights).sum() / len(scores)),
    }


def _ratios(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]
