"""Chooses on val the score from which a detection counts: one threshold for all classes, or one for each class.

The candidates are `CANDIDATES`. The chosen one is the middle of the longest run of candidates that are equally good, so
that a value between two runs, which is worse than both, is never chosen. Here: choosing, and the counts that each plate
gets from a threshold that was chosen without it. Not here: intervals (`intervals`), counting (`scoring.counting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.count_rule import DEFAULT_THRESHOLD
from agar_pipeline.scoring.counting import count_annotations
from agar_pipeline.scoring.matching import match_detections

CANDIDATES = np.round(np.arange(0.05, 0.96, 0.01), 2)
"""Scores, ascending. If detections are complete only above some score, only the T candidates above it are used."""
ENOUGH_ANNOTATIONS = 200
"""Annotations of a class on val from which the class gets a threshold of its own.

Measured on 445 photos with nine classes, divided at random into plates that choose and plates that test: with fewer
annotations, the class's count error with its own threshold was 4 to 16 % larger than with the common one, on average;
with 200 to 500 its own was worse in one of five divisions, with more in one of nine.
"""
Criterion = Literal["count_error", "f1"]


@dataclass(frozen=True)
class Thresholds:
    """The chosen thresholds, and how good each candidate was."""

    criterion: Criterion
    common: float
    """Chosen for all classes together; for each class without a threshold of its own."""
    own: Mapping[str, float]
    """Name of a class → its own threshold."""
    mae: tuple[float, ...]
    """Mean absolute error of the counts on val at each of `scores`, all classes together."""
    f1: tuple[float, ...]
    """F1 at IoU 0.5 on val at each of `scores`, all classes together; 0 where nothing is annotated or found."""

    @property
    def scores(self) -> np.ndarray:
        """The last of `CANDIDATES`, for which `mae` and `f1` have a value."""
        return CANDIDATES[len(CANDIDATES) - len(self.mae) :]

    def of(self, class_name: str) -> float:
        return self.own.get(class_name, self.common)

    def to_plain(self) -> dict[str, Any]:
        return {**vars(self), "own": dict(self.own), "mae": list(self.mae), "f1": list(self.f1)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Thresholds:
        return cls(plain["criterion"], plain["common"], plain["own"], tuple(plain["mae"]), tuple(plain["f1"]))


@dataclass(frozen=True)
class CountTable:
    """Counts of N plates at each of the last T candidates, from which a threshold is chosen."""

    predicted: np.ndarray
    """(N, T) int64 detections."""
    annotated: np.ndarray
    """(N,) int64 annotations, without crowds."""
    not_ignored: np.ndarray
    """(N, T) int64 detections that are right or wrong: those in crowd regions are neither."""
    right: np.ndarray
    """(N, T) int64 detections that are matched to an annotation of their class at IoU 0.5."""

    def merits(self, criterion: Criterion, *, without_own: bool = False) -> np.ndarray:
        """How good each candidate is, (1, T); with `without_own` (N, T), for each plate by the other plates.

        Both criteria are a sum over plates divided by another: −|predicted − annotated| over the number of plates, and
        2·right over not_ignored + annotated, which is F1.
        """
        true = self.annotated[:, None]
        if criterion == "count_error":
            upper, lower = -np.abs(self.predicted - true), np.ones_like(true)
        else:
            upper, lower = 2 * self.right, self.not_ignored + true
        uppers, lowers = upper.sum(axis=0, keepdims=True), lower.sum(axis=0, keepdims=True)
        if without_own:
            uppers, lowers = uppers - upper, lowers - lower
        return uppers / np.maximum(lowers, 1)

    def choose(self, criterion: Criterion) -> float:
        """The chosen candidate."""
        return float(CANDIDATES[-self.predicted.shape[1] :][middle_of_the_best(self.merits(criterion))[0]])

    def counts_without_own(self, criterion: Criterion) -> np.ndarray:
        """(N,) predicted count of each plate, from the threshold that the other plates choose."""
        chosen = middle_of_the_best(self.merits(criterion, without_own=True))
        return np.take_along_axis(self.predicted, chosen[:, None], axis=1)[:, 0]


@dataclass(frozen=True)
class ThresholdSearch:
    """The count tables of val, from which thresholds are chosen."""

    criterion: Criterion
    everything: CountTable
    """Of all counted classes together."""
    own: Mapping[str, CountTable]
    """Of each class that gets a threshold of its own."""
    rest: CountTable
    """Of the classes without one, together."""

    def thresholds(self) -> Thresholds:
        if not len(self.everything.annotated):
            return Thresholds(self.criterion, DEFAULT_THRESHOLD, {}, (), ())
        own = {name: table.choose(self.criterion) for name, table in self.own.items()}
        curves = [tuple(map(abs, self.everything.merits(c)[0].tolist())) for c in ("count_error", "f1")]
        return Thresholds(self.criterion, self.everything.choose(self.criterion), own, curves[0], curves[1])

    def counts_without_own(self) -> np.ndarray:
        """(N,) predicted count of each plate of val, as a plate would get it that is not part of val.

        A threshold fits the plates that it was chosen on a little better than others. So each plate is counted from the
        threshold that the other plates choose.
        """
        chosen = middle_of_the_best(self.everything.merits(self.criterion, without_own=True))
        common = np.take_along_axis(self.rest.predicted, chosen[:, None], axis=1)[:, 0]
        return common + sum(table.counts_without_own(self.criterion) for table in self.own.values())


def search_thresholds(
    columns: CocoColumns, detections: Detections, criterion: Criterion, *, per_class: bool = False
) -> ThresholdSearch:
    """Count and match the detections of val at all candidates.

    A detection is matched before all detections of a lower score, so one matching serves every threshold.

    Args:
        columns: The annotations of val, of the classes that count.
        detections: The detections on val of these classes, after suppression across classes.
        criterion: What is best: the least mean absolute error of the counts, or the highest F1.
        per_class: A threshold for each class that has `ENOUGH_ANNOTATIONS`.
    """
    detections = detections.take(np.flatnonzero(detections.scores >= CANDIDATES[0]))
    kinds = match_detections(columns, detections).detection_kinds
    everything = _table(columns, detections, kinds)
    own, rest = {}, np.ones(len(detections), bool)
    for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True):
        annotations = (columns.annotation_category_ids == category_id) & ~columns.iscrowd
        if per_class and np.count_nonzero(annotations) >= ENOUGH_ANNOTATIONS:
            mine = detections.category_ids == category_id
            own[name] = _table(columns.take_annotations(annotations), detections.take(mine), kinds[mine])
            rest &= ~mine
    of_rest = _table(columns, detections.take(rest), kinds[rest]) if own else everything
    return ThresholdSearch(criterion, everything, own, of_rest)


def choose_threshold(columns: CocoColumns, detections: Detections) -> float:
    """The threshold of the least mean absolute error of the counts, all classes together; nothing is matched.

    >>> columns = CocoColumns(
    ...     np.array([1]), np.array(["1.jpg"]), np.array([[9, 9]]), np.array([1]), np.array([1]), np.array([1]),
    ...     np.array([[0.0, 0, 3, 3]]), np.array([False]), np.array([1]), ("colony",)
    ... )
    >>> boxes, ids = np.array([[0.0, 0, 3, 3], [5.0, 5, 3, 3]]), np.array([1, 1])
    >>> choose_threshold(columns, Detections(ids, ids, boxes, np.array([0.9, 0.3])))
    0.61
    """
    if not len(columns.image_ids):
        return DEFAULT_THRESHOLD
    counts = counts_at_candidates(columns.image_ids, detections)
    table = CountTable(counts, count_annotations(columns), counts, counts)
    return table.choose("count_error")


def _table(columns: CocoColumns, detections: Detections, kinds: np.ndarray) -> CountTable:
    not_ignored, right = kinds != "ignored", kinds == "true_positive"
    counts = (counts_at_candidates(columns.image_ids, detections.take(rows)) for rows in (not_ignored, right))
    return CountTable(
        counts_at_candidates(columns.image_ids, detections), count_annotations(columns), next(counts), next(counts)
    )


def counts_at_candidates(image_ids: np.ndarray, detections: Detections) -> np.ndarray:
    """(N, T) number of detections of each image with a score from each candidate on, above `complete_from`.

    >>> ids, boxes = np.array([7, 7]), np.zeros((2, 4))
    >>> counts_at_candidates(np.array([3, 7]), Detections(ids, ids, boxes, np.array([0.9, 0.06])))[:, :3].tolist()
    [[0, 0, 0], [2, 2, 1]]
    """
    sorter = np.argsort(image_ids, kind="stable")
    rows = sorter[np.searchsorted(image_ids, detections.image_ids, sorter=sorter)]
    reached = np.searchsorted(CANDIDATES, detections.scores, side="right")  # how many candidates the score reaches
    width = len(CANDIDATES) + 1
    exactly = np.bincount(rows * width + reached, minlength=len(image_ids) * width).reshape(-1, width)
    first = int(np.searchsorted(CANDIDATES, detections.complete_from, side="right"))
    return exactly[:, :0:-1].cumsum(axis=1)[:, ::-1][:, first:]


def middle_of_the_best(merits: np.ndarray) -> np.ndarray:
    """(R,) column of the middle of the longest run of best columns in each row of (R, T); the first of equal runs.

    >>> middle_of_the_best(np.array([[1, 0, 1, 1, 1, 0, 1], [2, 1, 1, 1, 2, 2, 0]])).tolist()
    [3, 5]
    """
    columns = np.arange(merits.shape[1])
    worse_columns = np.where(merits == merits.max(axis=1, keepdims=True), -1, columns)
    lengths = columns - np.maximum.accumulate(worse_columns, axis=1)  # of the run that ends here, 0 where it is worse
    ends = lengths.argmax(axis=1)
    return ends - (np.take_along_axis(lengths, ends[:, None], axis=1)[:, 0] - 1) // 2
