"""Which detections of a model are kept, and which of the kept ones count as colonies.

The detections must have passed `suppression`, which leaves one box per colony. Here: the rule. Not here: how its
threshold is chosen (`counting.threshold`), the error of the counts (`scoring.counting`).
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

DEFAULT_THRESHOLD = 0.5


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
        """The detections whose score is at least the threshold of their class; `names`: category_id → class."""
        least = by_category(detections.category_ids, {i: self.least_score(name) for i, name in names.items()})
        return detections.take(np.flatnonzero(detections.scores >= least))

    def colonies(self, kept: Detections, names: Mapping[int, str]) -> Detections:
        """The kept detections whose class counts and that lie in the area."""
        is_counted = by_category(kept.category_ids, {i: self.counts(name) for i, name in names.items()})
        return self.detections_in_area(kept.take(np.flatnonzero(is_counted)))

    def annotated(self, columns: CocoColumns) -> CocoColumns:
        """The columns with the annotations whose class counts and that lie in the area."""
        counted = {i: self.counts(name) for i, name in columns.names.items()}
        rows = np.flatnonzero(by_category(columns.annotation_category_ids, counted))
        return self.annotations_in_area(columns.take_annotations(rows))

    def detections_in_area(self, detections: Detections) -> Detections:
        """The detections of all classes that lie in the area."""
        return detections if self.area is None else self.area.detections(detections)

    def annotations_in_area(self, columns: CocoColumns) -> CocoColumns:
        """The columns with the annotations of all classes that lie in the area."""
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
        """`value`, `chosen_on` and `chosen_by`, as in metrics.json; `per_class` and `classes` if the rule has them.

        >>> rule = CountRule(0.4, "val", "f1", {"E.coli": 0.6})
        >>> rule.to_plain()
        {'value': 0.4, 'chosen_on': 'val', 'chosen_by': 'f1', 'per_class': {'E.coli': 0.6}}
        >>> CountRule.from_plain(rule.to_plain()) == rule
        True
        """
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
