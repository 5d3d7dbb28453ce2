"""All pairs of overlapping boxes of two sets, within each image, as columns.

Here: which pairs overlap, and how much. Not here: what the overlap means (`evidence`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PAIRS_AT_A_TIME = 2_000_000


@dataclass(frozen=True)
class Overlaps:
    """P pairs of a box of a first set and a box of a second set that overlap in one image."""

    first: np.ndarray
    """(P,) row in the first set."""
    second: np.ndarray
    """(P,) row in the second set."""
    iou: np.ndarray
    """(P,) intersection over union, in (0, 1]."""
    inside: np.ndarray
    """(P,) share of the second box's area that is inside the first, in (0, 1]."""

    def where(self, kept: np.ndarray) -> Overlaps:
        return Overlaps(self.first[kept], self.second[kept], self.iou[kept], self.inside[kept])


def find_overlaps(
    first_xywh: np.ndarray, first_image_ids: np.ndarray, second_xywh: np.ndarray, second_image_ids: np.ndarray
) -> Overlaps:
    """Return all pairs with a common area; memory is bounded, since pairs are formed in portions.

    >>> one, two = np.array([[0.0, 0, 4, 2]]), np.array([[0.0, 0, 2, 2], [9.0, 9, 2, 2]])
    >>> found = find_overlaps(one, np.array([7]), two, np.array([7, 7]))
    >>> found.second.tolist(), found.iou.tolist(), found.inside.tolist()
    ([0], [0.5], [1.0])

    Args:
        first_xywh: (A, 4) boxes, pixels.
        first_image_ids: (A,).
        second_xywh: (B, 4) boxes, pixels.
        second_image_ids: (B,).
    """
    order = np.argsort(second_image_ids, kind="stable")
    starts = np.searchsorted(second_image_ids[order], first_image_ids, side="left")
    counts = np.searchsorted(second_image_ids[order], first_image_ids, side="right") - starts
    portions = np.flatnonzero(np.diff(np.cumsum(counts) // _PAIRS_AT_A_TIME, prepend=0))
    pieces = []
    for rows in np.split(np.arange(len(first_image_ids)), portions):
        many = counts[rows]
        first = np.repeat(rows, many)
        within = np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
        second = order[np.repeat(starts[rows], many) + within]
        pieces.append(_overlapping(first, second, first_xywh, second_xywh))
    return Overlaps(*(np.concatenate([getattr(one, name) for one in pieces]) for name in Overlaps.__dataclass_fields__))


def _overlapping(first: np.ndarray, second: np.ndarray, first_xywh: np.ndarray, second_xywh: np.ndarray) -> Overlaps:
    a, b = first_xywh[first], second_xywh[second]
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    found = common > 0
    areas = b[found, 2:].prod(axis=1)
    union = a[found, 2:].prod(axis=1) + areas - common[found]
    return Overlaps(first[found], second[found], common[found] / union, common[found] / areas)
