"""Pairs the boxes of one image between two versions of its annotations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

TOLERANCE_PX = 1e-6
"""Pixels; boxes whose four sides differ by at most this are at the same place."""
Kind = Literal["added", "removed", "moved", "relabelled", "edited"]
KINDS: tuple[Kind, ...] = ("added", "removed", "moved", "relabelled", "edited")
"""`edited`: same label and place, other attributes or another iscrowd."""
Pair = tuple[Kind, int | None, int | None]
"""What happened to a box, its row before and its row after; None on the side without it."""


@dataclass(frozen=True)
class BoxColumns:
    """Boxes as columns."""

    labels: np.ndarray
    """(N,) text or None."""
    boxes_xywh: np.ndarray
    """(N, 4) pixels; values may be NaN or infinite."""
    rest: np.ndarray
    """(N, 2) iscrowd and attributes."""

    def rows(self, chosen: Any) -> BoxColumns:
        return BoxColumns(self.labels[chosen], self.boxes_xywh[chosen], self.rest[chosen])

    def exact(self, row: int) -> tuple[Any, ...]:
        """Return a key that is equal for equal boxes, also for those with NaN."""
        return self.labels[row], self.boxes_xywh[row].tobytes(), *self.rest[row]


def pair_boxes(before: BoxColumns, after: BoxColumns) -> list[Pair]:
    """Return what happened to each box of one image; boxes that are unchanged except for their order are left out.

    Pairs are one to one, made in this order: identical boxes; boxes at the same place with other attributes
    (`edited`), then with another label (`relabelled`); overlapping boxes of one label, largest IoU first (`moved`).
    Boxes without a partner were removed or added.

    >>> def one(label, x):
    ...     rest = np.array([[False, None]], object)
    ...     return BoxColumns(np.array([label], object), np.array([[x, 0.0, 9.0, 9.0]]), rest)
    >>> pair_boxes(one("S.aureus", 0.0), one("S.aureus", 2.0)), pair_boxes(one("S.aureus", 0.0), one("E.coli", 0.0))
    ([('moved', 0, 0)], [('relabelled', 0, 0)])
    """
    left, right = _without_twins(before, after)
    passes: list[tuple[Kind | None, Callable[[BoxColumns, BoxColumns], np.ndarray]]] = [
        (None, lambda a, b: _same_place(a, b) & _same_label(a, b) & _same_rest(a, b)),
        ("edited", lambda a, b: _same_place(a, b) & _same_label(a, b)),
        ("relabelled", _same_place),
        ("moved", lambda a, b: _iou(a.boxes_xywh, b.boxes_xywh) * _same_label(a, b)),
    ]
    found: list[Pair] = []
    for kind, score in passes:
        taken = _best_pairs(score(before.rows(left), after.rows(right)))
        if kind is not None:
            found += [(kind, int(left[i]), int(right[j])) for i, j in taken]
        left = np.delete(left, [i for i, _ in taken])
        right = np.delete(right, [j for _, j in taken])
    found += [("removed", int(i), None) for i in left]
    found += [("added", None, int(j)) for j in right]
    return found


def near(a_xywh: np.ndarray, b_xywh: np.ndarray) -> np.ndarray:
    """Return whether boxes agree in all four values of the last axis; NaN equals NaN.

    >>> near(np.array([[0.0, 0.0, 5.0, 5.0]]), np.array([[0.0, 0.0, 5.0, 5.1]]))
    array([False])
    """
    with np.errstate(invalid="ignore"):
        close = np.abs(a_xywh - b_xywh) <= TOLERANCE_PX
    return ((a_xywh == b_xywh) | close | (np.isnan(a_xywh) & np.isnan(b_xywh))).all(axis=-1)


def _without_twins(before: BoxColumns, after: BoxColumns) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of each side without exactly equal pairs; fast if hundreds of boxes are unchanged."""
    waiting: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row in range(len(after.labels)):
        waiting[after.exact(row)].append(row)
    left = []
    for row in range(len(before.labels)):
        twins = waiting[before.exact(row)]
        if twins:
            twins.pop(0)
        else:
            left.append(row)
    right = sorted(row for rows in waiting.values() for row in rows)
    return np.array(left, dtype=np.int64), np.array(right, dtype=np.int64)


def _best_pairs(scores: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = np.nonzero(scores > 0)
    best_first = np.argsort(-scores[rows, columns].astype(np.float64), kind="stable")
    pairs: list[tuple[int, int]] = []
    rows_taken: set[int] = set()
    columns_taken: set[int] = set()
    for i, j in zip(rows[best_first].tolist(), columns[best_first].tolist(), strict=True):
        if i not in rows_taken and j not in columns_taken:
            pairs.append((i, j))
            rows_taken.add(i)
            columns_taken.add(j)
    return pairs


def _same_place(a: BoxColumns, b: BoxColumns) -> np.ndarray:
    return near(a.boxes_xywh[:, None], b.boxes_xywh[None])


def _same_label(a: BoxColumns, b: BoxColumns) -> np.ndarray:
    return np.asarray(a.labels[:, None] == b.labels[None], dtype=bool)


def _same_rest(a: BoxColumns, b: BoxColumns) -> np.ndarray:
    return np.all(a.rest[:, None] == b.rest[None], axis=-1)


def _iou(a_xywh: np.ndarray, b_xywh: np.ndarray) -> np.ndarray:
    """Return IoU, (N, M); 0 if a box is not finite or has no area."""
    a, b = a_xywh[:, None], b_xywh[None]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        shared = np.clip(sides, 0, None).prod(axis=-1)
        iou = shared / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared)
    return np.where(np.isfinite(iou), iou, 0.0)
