"""Computes all figures of one model, or of one file of predictions, on one COCO file: the content of `metrics.json`.

The asset `evaluation`, `agar evaluate` and the comparison of models use this module. Here: assembling. Not here:
formulas (`average_precision`, `counting`, `matching`, `error_costs`, `reliability`, `uncertainty`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.average_precision import coco_metrics
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counting import by_density, count_annotations, count_per_image, counting_metrics
from agar_pipeline.scoring.error_costs import error_gains
from agar_pipeline.scoring.matching import ANNOTATION_KINDS, DETECTION_KINDS, Matches, match_detections
from agar_pipeline.scoring.reliability import reliability
from agar_pipeline.scoring.suppression import suppress_across_classes
from agar_pipeline.scoring.uncertainty import confidence_intervals


@dataclass(frozen=True)
class Scored:
    """The scored detections and their metrics."""

    columns: CocoColumns
    """The ground truth."""
    counted: Detections
    """Detections of all classes that the rule keeps, after suppression across classes."""
    matches: Matches
    """Matches of `counted`."""
    rule: CountRule
    """Which detections are kept, and which classes count as colonies."""
    metrics: dict[str, Any]
    """JSON-ready; None where undefined, with the cause in `reasons`."""


def score_detections(columns: CocoColumns, detections: Detections, rule: CountRule) -> Scored:
    """Score detections against the ground truth.

    Args:
        columns: The ground truth.
        detections: Detections on its images, with its categories.
        rule: Which detections are kept, and which classes count as colonies.

    Raises:
        AnnotationError: a detection belongs to an image or category that the annotations do not list.
    """
    scores = coco_metrics(columns, detections)
    colonies = suppress_across_classes(detections)
    kept = rule.keep(colonies, columns.names)
    matches = match_detections(columns, kept)
    counting = counting_metrics(columns, kept, rule, detections.why_uncounted(rule.least_of_all))
    counts = count_per_image(rule.annotated(columns), rule.colonies(kept, columns.names))
    reasons = scores.pop("reasons") | {f"counting.{name}": why for name, why in counting.pop("reasons").items()}
    metrics = {
        **scores,
        "num_images": len(columns.image_ids),
        "num_annotations": int((~columns.iscrowd).sum()),
        "num_predictions": len(detections),
        "complete_from": detections.complete_from,
        "counting": counting,
        "confidence": confidence_intervals(columns, detections, *counts),
        "errors": error_counts(columns, kept, matches, rule) | {"gains": error_gains(columns, detections, rule)},
        "reliability": reliability(columns, colonies),
        "confusion": confusion(columns, kept, matches),
        "score_threshold": rule.to_plain(),
        "reasons": reasons,
    }
    return Scored(columns, kept, matches, rule, metrics)


def error_counts(columns: CocoColumns, counted: Detections, matches: Matches, rule: CountRule) -> dict[str, Any]:
    """Number of detections and annotations of each kind.

    Returns:
        `detections` and `annotations`: kind → count; `per_class` and `per_density`: name → kind → count. The kinds that
        annotations have are counted over annotations, by their own class; the other kinds over detections, by theirs.
    """
    density = by_density(count_annotations(rule.annotated(columns)))
    images_of = {name: columns.image_ids[rows] for name, rows in density.items()}
    by_class = zip(columns.category_ids.tolist(), columns.class_names, strict=True)
    everything = np.ones(len(columns.annotation_ids), bool), np.ones(len(counted), bool)
    return {
        "detections": _occurrences(matches.detection_kinds, everything[1], DETECTION_KINDS),
        "annotations": _occurrences(matches.annotation_kinds, everything[0], ANNOTATION_KINDS),
        "per_class": {
            name: _kinds(matches, columns.annotation_category_ids == i, counted.category_ids == i)
            for i, name in by_class
        },
        "per_density": {
            name: _kinds(matches, np.isin(columns.annotation_image_ids, ids), np.isin(counted.image_ids, ids))
            for name, ids in images_of.items()
        },
    }


def _kinds(matches: Matches, annotations: np.ndarray, detections: np.ndarray) -> dict[str, int]:
    only_detections = tuple(kind for kind in DETECTION_KINDS if kind not in ANNOTATION_KINDS)
    return _occurrences(matches.annotation_kinds, annotations, ANNOTATION_KINDS) | _occurrences(
        matches.detection_kinds, detections, only_detections
    )


def _occurrences(kinds: np.ndarray, rows: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    return {name: int(np.count_nonzero(kinds[rows] == name)) for name in names}


def confusion(columns: CocoColumns, counted: Detections, matches: Matches) -> dict[str, Any]:
    """Confusion matrix of the classes.

    Returns:
        `class_names` (K) and `matrix`, (K + 1) × (K + 1) counts: rows are annotated, columns predicted classes. The
        last column counts annotations without a matching detection, the last row detections without a matching
        annotation.
    """
    order = np.argsort(columns.category_ids, kind="stable")
    ids, count = columns.category_ids[order], len(order)
    matrix = np.zeros((count + 1, count + 1), dtype=np.int64)
    in_place = np.isin(matches.detection_kinds, ("true_positive", "wrong_class"))
    partners = matches.detection_partners[in_place]
    truth = np.searchsorted(ids, columns.annotation_category_ids[partners])
    np.add.at(matrix, (truth, np.searchsorted(ids, counted.category_ids[in_place])), 1)
    lost = np.isin(matches.annotation_kinds, ("poor_box", "merged", "missed"))
    matrix[:count, count] = [np.count_nonzero(columns.annotation_category_ids[lost] == i) for i in ids]
    extra = ~in_place & (matches.detection_kinds != "ignored")
    matrix[count, :count] = [np.count_nonzero(counted.category_ids[extra] == i) for i in ids]
    return {"class_names": [columns.class_names[row] for row in order], "matrix": matrix.tolist()}
