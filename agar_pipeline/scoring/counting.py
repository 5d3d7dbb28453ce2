"""Colonies per plate, and the error of the counts.

Here: counts and their metrics. Not here: which detections count (`count_rule`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.count_rule import CountRule

DENSITIES = ((0, 0, "0"), (1, 30, "1-30"), (31, 100, "31-100"), (101, 300, "101-300"), (301, None, "over 300"))
"""Smallest and largest number of colonies on a plate, both inclusive, and the name of the density; more than 300 are
too numerous to count.
"""
COUNT_METRICS = ("mae", "me", "smape", "r2", "within_10_percent")
"""The figures of `count_errors`."""


def count_per_image(columns: CocoColumns, colonies: Detections) -> tuple[np.ndarray, np.ndarray]:
    """(N,) detections, and (N,) annotations without crowds, per image."""
    return _occurrences(columns.image_ids, colonies.image_ids), count_annotations(columns)


def _occurrences(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    sorter = np.argsort(ids, kind="stable")
    counts = np.searchsorted(np.sort(values), ids[sorter], side="right") - np.searchsorted(np.sort(values), ids[sorter])
    placed = np.zeros(len(ids), dtype=np.int64)
    placed[sorter] = counts
    return placed


def count_annotations(columns: CocoColumns) -> np.ndarray:
    """(N,) annotated colonies of each image; crowd regions are not counted."""
    return _occurrences(columns.image_ids, columns.annotation_image_ids[~columns.iscrowd])


def by_density(truth: np.ndarray) -> dict[str, np.ndarray]:
    """Name of each density → (N,) bool, the plates with that density, from their (N,) annotated counts.

    >>> {name: plates.tolist() for name, plates in by_density(np.array([0, 12])).items() if plates.any()}
    {'0': [True, False], '1-30': [False, True]}
    """
    return {name: (truth >= least) & (truth <= (np.inf if most is None else most)) for least, most, name in DENSITIES}


def counting_metrics(
    columns: CocoColumns, kept: Detections, rule: CountRule, why_undefined: str | None = None
) -> dict[str, Any]:
    """Compare counts with the ground truth; p are the predicted and g the annotated colonies of a plate.

    Args:
        columns: The annotations of all classes.
        kept: The detections that the rule keeps (`CountRule.keep`), of all classes.
        rule: Says which classes count, and where.
        why_undefined: `Detections.why_uncounted` of all detections, kept or not.

    Returns:
        Over all plates, for the classes that count:
        mae: mean |p − g|, colonies.
        me: mean p − g, colonies, the bias; a value above 0 means that too many are counted.
        smape: mean of 200·|p − g| / (p + g), percent, 0 where both are 0; the symmetric mean absolute
            percentage error.
        r2: 1 − Σ(p − g)² / Σ(g − mean g)², the coefficient of determination.
        within_10_percent: share of plates with |p − g| ≤ g / 10.
        `classes`: the classes that count, `reported_apart`: the others.
        `outside`: `annotations` and `detections` of these classes that do not count because of where they lie.
        `per_density`: the same and `num_images` for plates of 0, 1–30, 31–100, 101–300 and over 300 annotated colonies.
        `per_class`: the same for one class at a time, also for those that do not count as colonies.
        `empty_plates`: for the plates without a colony, `num_images`, `false_alarm_share` (share of plates with at
        least one detection) and `detections_per_plate`.
        Values are None where undefined; `reasons`: dotted name → why.
    """
    annotated, colonies = rule.annotated(columns), rule.colonies(kept, columns.names)
    predicted, truth = count_per_image(annotated, colonies)
    anywhere = dataclasses.replace(rule, area=None)
    outside = {
        "annotations": len(anywhere.annotated(columns).annotation_ids) - len(annotated.annotation_ids),
        "detections": len(anywhere.colonies(kept, columns.names)) - len(colonies),
    }
    errors = _unknown_errors if why_undefined else count_errors
    per_density = {}
    for name, rows in by_density(truth).items():
        per_density[name] = {"num_images": int(rows.sum()), **errors(predicted[rows], truth[rows])}
    per_class = {}
    columns, kept = rule.annotations_in_area(columns), rule.detections_in_area(kept)
    for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True):
        of_class = columns.take_annotations(columns.annotation_category_ids == category_id)
        own = kept.take(np.flatnonzero(kept.category_ids == category_id))
        per_class[name] = errors(*count_per_image(of_class, own))
    metrics = {
        **errors(predicted, truth),
        "classes": [name for name in columns.class_names if rule.counts(name)],
        "reported_apart": [name for name in columns.class_names if not rule.counts(name)],
        "outside": outside,
        "per_density": per_density,
        "per_class": per_class,
        "empty_plates": _empty_plates(predicted[truth == 0], known=not why_undefined),
    }
    return {**metrics, "reasons": _explain_undefined(metrics, truth, why_undefined)}


def count_errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    """mae, me, smape, r2 and within_10_percent of (N,) counts, as `counting_metrics` defines them."""
    if not len(truth):
        return dict.fromkeys(COUNT_METRICS)
    errors = predicted - truth
    squares = np.square(truth - truth.mean()).sum()
    return {
        "mae": float(np.abs(errors).mean()),
        "me": float(errors.mean()),
        "smape": float((200 * np.abs(errors) / np.maximum(predicted + truth, 1)).mean()),
        "r2": float(1 - np.square(errors).sum() / squares) if squares else None,
        "within_10_percent": float((np.abs(errors) <= truth / 10).mean()),
    }


def _unknown_errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    del predicted, truth
    return dict.fromkeys(COUNT_METRICS)


def _empty_plates(predicted: np.ndarray, *, known: bool) -> dict[str, Any]:
    if not len(predicted) or not known:
        return {"num_images": len(predicted), "false_alarm_share": None, "detections_per_plate": None}
    return {
        "num_images": len(predicted),
        "false_alarm_share": float((predicted > 0).mean()),
        "detections_per_plate": float(predicted.mean()),
    }


def _explain_undefined(metrics: dict[str, Any], truth: np.ndarray, why: str | None) -> dict[str, str]:
    if why:
        tables = [f"{table}.{name}" for table in ("per_density", "per_class") for name in metrics[table]]
        return dict.fromkeys([*COUNT_METRICS, *tables, "empty_plates"], why)
    reasons = {name: "no plate" for name in COUNT_METRICS if metrics[name] is None}
    if metrics["r2"] is None and len(truth):
        reasons["r2"] = "all plates have the same number of colonies" if len(truth) > 1 else "only one plate"
    for name, row in metrics["per_density"].items():
        reasons |= {f"per_density.{name}": "no such plate"} if not row["num_images"] else {}
        if row["num_images"] and row["r2"] is None:
            reasons[f"per_density.{name}.r2"] = "needs plates with different counts"
    for name, row in metrics["per_class"].items():
        if row["mae"] is None:
            reasons[f"per_class.{name}"] = "no plate"
        elif row["r2"] is None:
            reasons[f"per_class.{name}.r2"] = "needs plates with different counts"
    if not metrics["empty_plates"]["num_images"]:
        reasons["empty_plates"] = "no plate without a colony"
    return reasons
