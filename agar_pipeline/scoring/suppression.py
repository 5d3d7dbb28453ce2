"""Non-maximum suppression across classes, so that each colony is counted once.

Detectors suppress overlapping boxes class by class, so a colony whose species is uncertain keeps one box per class.
Average precision needs all of them, because it ranks each class separately; a count needs one. Here: selecting that
one. Not here: suppression within a class, which the detectors do (`detection.models`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agar_pipeline.coco.detections import Detections

SAME_PLACE_IOU = 0.7
"""Two boxes with at least this IoU are one colony.

Boxes of one colony for two classes overlap more than that, since most of them come from one anchor. In the real data
sets that were examined, no two annotations of different classes have an IoU above 0.4. On 13 whole plates of eight
species, 0.5 and 0.8 give the same count error, within one per cent.
"""
_PAIRS_AT_A_TIME = 2_000_000


def suppress_across_classes(detections: Detections) -> Detections:
    """Remove each detection that overlaps a better one of another class in the same image.

    The procedure is greedy: highest score first; of equal scores, the earlier detection first. A removed detection does
    not suppress others. For this reason a score threshold gives the same detections whether it is applied before or
    after.

    Args:
        detections: D of any images and classes, in any order.

    Returns:
        The remaining detections, in their order. All detections if they are too incomplete for any figure
        (`Detections.why_undefined`).

    Example:
        >>> ids, boxes = np.array([1, 1]), np.array([[0.0, 0, 10, 10], [1, 0, 10, 10]])
        >>> doubt = Detections(ids, np.array([1, 2]), boxes, np.array([0.6, 0.7]))
        >>> suppress_across_classes(doubt).category_ids.tolist()
        [2]
    """
    if detections.why_undefined:
        return detections
    return detections.take(np.flatnonzero(is_best_of_classes(detections)))


def is_best_of_classes(detections: Detections) -> np.ndarray:
    """(D,) False for the detections that `suppress_across_classes` removes."""
    order = np.argsort(detections.image_ids, kind="stable")
    starts = np.flatnonzero(np.diff(detections.image_ids[order], prepend=-np.inf))
    kept = np.ones(len(detections), dtype=bool)
    for rows in np.split(order, starts[1:]):
        _suppress_image(detections, rows, kept)
    return kept


def _suppress_image(detections: Detections, rows: np.ndarray, kept: np.ndarray) -> None:
    classes = detections.category_ids[rows]
    if not len(rows) or (classes == classes[0]).all():
        return
    rank = np.empty(len(rows), np.int64)
    rank[np.argsort(-detections.scores[rows], kind="stable")] = np.arange(len(rows))
    pairs = [
        np.sort(rank[places], axis=0)
        for places in _overlapping_pairs(detections.boxes_xywh[rows])
        for places in [places[:, classes[places[0]] != classes[places[1]]]]
    ]
    better, worse = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    covers = np.ones(len(rows), dtype=bool)
    by_worse = np.argsort(worse, kind="stable")
    for first, second in zip(better[by_worse].tolist(), worse[by_worse].tolist(), strict=True):
        if covers[first]:  # this flag is final: all pairs in which `first` is the worse one came before
            covers[second] = False
    kept[rows] = covers[rank]


def _overlapping_pairs(boxes_xywh: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (2, P) row pairs of boxes of one image with an IoU of `SAME_PLACE_IOU` or more, in portions.

    Boxes are sorted by their left edges. The partners of a box are then among the following boxes, because a box with
    such an IoU starts within the first 1 − `SAME_PLACE_IOU` of the width.
    """
    order = np.argsort(boxes_xywh[:, 0], kind="stable")
    x, y, width, height = boxes_xywh[order].T
    ends = np.searchsorted(x, x + (1 - SAME_PLACE_IOU) * width, side="right")
    counts = np.maximum(0, ends - np.arange(len(x)) - 1)
    portions = np.flatnonzero(np.diff(np.cumsum(counts) // _PAIRS_AT_A_TIME, prepend=0))
    for firsts in np.split(np.arange(len(x)), portions):
        many = counts[firsts]
        a = np.repeat(firsts, many)
        b = a + 1 + np.arange(len(a)) - np.repeat(np.cumsum(many) - many, many)
        common_x = np.minimum(x[a] + width[a], x[b] + width[b]) - x[b]
        common_y = np.minimum(y[a] + height[a], y[b] + height[b]) - np.maximum(y[a], y[b])
        common = np.maximum(common_x, 0) * np.maximum(common_y, 0)
        joint = width[a] * height[a] + width[b] * height[b] - common
        found = (common > 0) & (common >= SAME_PLACE_IOU * joint)
        yield np.stack([order[a[found]], order[b[found]]])
