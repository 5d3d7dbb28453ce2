"""The cost of each kind of error: the gain in mAP@50 if only this kind were corrected, as in TIDE.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020, section 2.4: an oracle
corrects one kind of error, everything else stays, and AP is measured again. The gains do not add up, because one error
may hide another.
"""

from __future__ import annotations

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.average_precision import ap_50_per_class
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counting import by_density, count_annotations
from agar_pipeline.scoring.matching import Matches, match_detections

ERROR_KINDS = ("wrong_class", "poor_box", "merged", "duplicate", "background", "missed")


def error_gains(
    columns: CocoColumns, detections: Detections, rule: CountRule
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Gains in mAP@50 by kind of error, over all detections with any score.

    Returns:
        `all`, `per_class` and `per_density`; each maps a name (`all` has the one name `all`) to kind → gain in [0, 1],
        None where AP is undefined.
    """
    everything = _gains(columns, detections)
    order = np.argsort(columns.category_ids)
    names = [columns.class_names[row] for row in order]
    per_density = {}
    for name, plates in by_density(count_annotations(rule.annotated(columns))).items():
        of_these = np.isin(detections.image_ids, columns.image_ids[plates])
        some = _gains(columns.take_images(np.flatnonzero(plates)), detections.take(np.flatnonzero(of_these)))
        per_density[name] = {kind: _mean(gains) for kind, gains in some.items()}
    return {
        "all": {"all": {kind: _mean(gains) for kind, gains in everything.items()}},
        "per_class": {
            name: {kind: _mean(gains[place : place + 1]) for kind, gains in everything.items()}
            for place, name in enumerate(names)
        },
        "per_density": per_density,
    }


def _gains(columns: CocoColumns, detections: Detections) -> dict[str, np.ndarray]:
    """Kind → (K,) gain in AP@50 by class, NaN where undefined."""
    matches = match_detections(columns, detections)
    base = ap_50_per_class(columns, detections)
    gains = {}
    for kind in ERROR_KINDS:
        if not _occurs(matches, kind):
            gains[kind] = np.where(np.isnan(base), np.nan, 0.0)
            continue
        mended = ap_50_per_class(*mend(columns, detections, matches, kind))
        # if all annotations of a class are missed and removed, AP is undefined: the gain is all that was lacking
        gains[kind] = np.where(np.isnan(mended) & ~np.isnan(base), 1.0, mended) - base
    return gains


def _occurs(matches: Matches, kind: str) -> bool:
    kinds = matches.annotation_kinds if kind == "missed" else matches.detection_kinds
    return bool((kinds == kind).any())


def mend(columns: CocoColumns, detections: Detections, matches: Matches, kind: str) -> tuple[CocoColumns, Detections]:
    """Correct one kind of error.

    `wrong_class` detections get the class of their annotation, and `poor_box` detections its box. A `merged` detection
    becomes one box per colony. `duplicate` and `background` detections are removed. `missed` annotations are removed
    from the ground truth.
    """
    if kind == "missed":
        return columns.take_annotations(matches.annotation_kinds != "missed"), detections
    at_fault = matches.detection_kinds == kind
    if kind in ("duplicate", "background"):
        return columns, detections.take(np.flatnonzero(~at_fault))
    annotations = np.flatnonzero(matches.annotation_kinds == kind)
    sources = matches.annotation_partners[annotations]
    keep_class, keep_box = kind == "poor_box", kind == "wrong_class"
    mended = Detections(
        detections.image_ids[sources],
        (detections.category_ids[sources] if keep_class else columns.annotation_category_ids[annotations]),
        (detections.boxes_xywh[sources] if keep_box else columns.boxes_xywh[annotations]),
        detections.scores[sources],
    )
    return columns, Detections.concatenate([detections.take(np.flatnonzero(~at_fault)), mended])


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
