"""Colonies per plate: which detections count, and the error of the counts.

The detections must have passed `suppression`, which leaves one box per colony.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.counted_area import CountedArea

DENSITIES = ((0, 0, "0"), (1, 30, "1-30"), (31, 100, "31-100"), (101, 300, "101-300"), (301, None, "over 300"))
"""Smallest and largest number of colonies on a plate, both inclusive, and the name of the density; more than 300 are
too numerous to count.
"""
DEFAULT_THRESHOLD = 0.5
COUNT_METRICS = ("mae", "me", "smape", "r2", "within_10_percent")
"""The figures of `count_errors`."""


@dataclass(frozen=True)
class CountRule:
    """Which detections are kept, and which of the kept ones count as colonies.

    >>> rule = CountRule(0.4, per_class={"E.coli": 0.6}, classes=("E.coli",))
    >>> rule.least_score("E.coli"), rule.least_score("Defect"), rule.counts("Defect")
    (0.6, 0.4, False)
    """

    threshold: float = DEFAULT_THRESHOLD
    """Score from which a detection of a class without a threshold of its own is kept."""
    chosen_on: str = "nothing: no val was scored, this is a default"
    """The images that it was chosen on, or why it was chosen on none."""
    chosen_by: str = "default"
    """`count_error`, `f1`, `fixed`, `given` (on a command line) or `default`."""
    per_class: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Class → its own threshold."""
    classes: tuple[str, ...] | None = None
    """Classes whose detections count as colonies; None: all."""
    area: CountedArea | None = dataclasses.field(default=None, compare=False, repr=False)
    """The part of each image in which colonies count; None: all of it. It belongs to the images that
    are counted, so it is not part of `to_plain`."""

    def least_score(self, name: str) -> float:
        return self.per_class.get(name, self.threshold)

    def counts(self, name: str) -> bool:
        return self.classes is None or name in self.classes

    @property
    def least_of_all(self) -> float:
        """Score below which no detection of any class is kept."""
        return min(self.threshold, *self.per_class.values()) if self.per_class else self.threshold

    def keep(self, detections: Detections, names: Mapping[int, str]) -> Detections:
        """The detections with the threshold of their class or more; `names`: category_id → class."""
        least = by_category(detections.category_ids, {i: self.least_score(name) for i, name in names.items()})
        return detections.take(np.flatnonzero(detections.scores >= least))

    def colonies(self, kept: Detections, names: Mapping[int, str]) -> Detections:
        """Those of the kept detections whose class counts, and that lie in the area."""
        is_counted = by_category(kept.category_ids, {i: self.counts(name) for i, name in names.items()})
        return self.detections_in_area(kept.take(np.flatnonzero(is_counted)))

    def annotated(self, columns: CocoColumns) -> CocoColumns:
        """The columns with the annotations of the classes that count, and that lie in the area."""
        counted = {i: self.counts(name) for i, name in columns.names.items()}
        rows = np.flatnonzero(by_category(columns.annotation_category_ids, counted))
        return self.annotations_in_area(columns.take_annotations(rows))

    def detections_in_area(self, detections: Detections) -> Detections:
        """Those of the detections, of all classes, that lie in the area."""
        return detections if self.area is None else self.area.detections(detections)

    def annotations_in_area(self, columns: CocoColumns) -> CocoColumns:
        """The columns with the annotations, of all classes, that lie in the area."""
        return columns if self.area is None else self.area.annotations(columns)

    def within(self, area: CountedArea) -> CountRule:
        """The same rule for images with this area."""
        return dataclasses.replace(self, area=area)

    def renamed(self, names: Mapping[str, str]) -> CountRule:
        """The same rule for a file that spells the classes differently; `names`: class here → class there."""
        return dataclasses.replace(
            self,
            per_class={names.get(name, name): value for name, value in self.per_class.items()},
            classes=None if self.classes is None else tuple(names.get(name, name) for name in self.classes),
        )

    def to_plain(self) -> dict[str, Any]:
        """`value`, `chosen_on` and `chosen_by`, as in metrics.json; `per_class` and `classes` if the rule has them."""
        plain: dict[str, Any] = {"value": self.threshold, "chosen_on": self.chosen_on, "chosen_by": self.chosen_by}
        plain |= {"per_class": dict(self.per_class)} if self.per_class else {}
        return plain | ({} if self.classes is None else {"classes": list(self.classes)})

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CountRule:
        classes = plain.get("classes")
        return cls(
            float(plain["value"]),
            plain["chosen_on"],
            plain["chosen_by"],
            dict(plain.get("per_class", {})),
            None if classes is None else tuple(classes),
        )


def by_category(category_ids: np.ndarray, values: Mapping[int, Any]) -> np.ndarray:
    """(D,) value of each category id; `values`: category_id → value.

    >>> by_category(np.array([7, 2, 7]), {2: 0.5, 7: 0.1}).tolist()
    [0.1, 0.5, 0.1]
    """
    known = np.array(sorted(values), dtype=np.int64)
    return np.array([values[i] for i in known.tolist()])[np.searchsorted(known, category_ids)]


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
        why_undefined: `Detections.why_undefined` of all detections, kept or not.

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
