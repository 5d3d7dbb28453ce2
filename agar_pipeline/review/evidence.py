"""How strongly the detections speak against each annotation, and for an annotation that is not there.

Here: one number in [0, 1] for each kind of error. Not here: how probable an error with this number is (`probability`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.review.overlaps import Overlaps, find_overlaps
from agar_pipeline.scoring.matching import FOUND_IOU, NEAR_IOU
from agar_pipeline.scoring.suppression import is_best_of_classes

OF_ANNOTATIONS = ("box_too_many", "wrong_class", "poor_box", "double_box", "merged_box")
MISSED = "missed_colony"
KINDS = (MISSED, *OF_ANNOTATIONS)
INSIDE_SHARE = 0.7
"""A detection lies inside an annotation if at least this share of its area does."""
SUPPORT_IOU = 0.6
"""A detection with this IoU or more supports an annotation with the whole of its score."""
PART_AREA_SHARE = 0.8
"""A detection is a part of an annotation if its area is at most this share of the annotation's."""

RELIABILITY_POWER = 0.25
"""Weight of the share of annotated detections on a photo in the evidence of a missed colony. By `make bench
NAME=label_review`, at 0 fewer missed colonies are found on real photos; at 0.5 these displace suspects of other kinds.
"""
PRIOR_COUNT = 5
"""Weight of the share among all annotations in the share of a class, a size or a photo, as a number of annotations."""


@dataclass(frozen=True)
class Evidence:
    """Evidence about M annotations, and about D detections that may be annotations that are missing."""

    annotations: dict[str, np.ndarray]
    """Kind of `OF_ANNOTATIONS` → (M,) in [0, 1]."""
    partners: dict[str, np.ndarray]
    """Kind → (M,) row of the detection (for `double_box` of the other annotation) that the evidence comes from, or
    −1."""
    first_part: np.ndarray
    """(M,) row of the best detection that is a part of the annotation, or −1; `merged_box` names the second best."""
    missed: np.ndarray
    """(D,) in [0, 1], 0 for detections that another one suppresses."""


def weigh(columns: CocoColumns, detections: Detections) -> Evidence:
    """Compute the evidence of all kinds.

    Args:
        columns: M annotations, without crowds.
        detections: D detections of models that were not trained on these images.
    """
    kept = is_best_of_classes(detections)
    pairs = find_overlaps(columns.boxes_xywh, columns.annotation_image_ids, detections.boxes_xywh, detections.image_ids)
    sole = pairs.where(kept[pairs.second])
    many = len(columns.annotation_ids)
    scores = detections.scores
    matched, match_score, match_iou = _mutual_best(sole, scores, many, len(detections))
    support = np.sqrt(scores[pairs.second]) * np.minimum(1, pairs.iou / SUPPORT_IOU)
    support, _ = _best(pairs.first, support, pairs.second, many)
    wrong, other = _wrong_class(columns, detections, pairs)
    fits = match_score * np.clip((match_iou - NEAR_IOU) / (0.7 - NEAR_IOU), 0, 1)
    double, twin = _double(columns, fits)
    merged, first_part, part = _merged(columns, detections, sole, fits)
    annotations = {
        "box_too_many": (1 - support**2) * _share_of_better(columns, support),
        "wrong_class": wrong,
        "poor_box": np.where(matched >= 0, np.sqrt(match_score) * (1 - match_iou), 0) * (1 - merged),
        "double_box": double,
        "merged_box": merged,
    }
    none = np.full(many, -1)
    partners = {
        "box_too_many": none,
        "wrong_class": other,
        "poor_box": matched,
        "double_box": twin,
        "merged_box": part,
    }
    return Evidence(annotations, partners, first_part, _missed(sole, detections, kept))


def _best(groups: np.ndarray, values: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest of the values of each group (0 if it has none), and its row (−1), each (count,)."""
    best, row = np.zeros(count), np.full(count, -1)
    order = np.argsort(values, kind="stable")
    best[groups[order]] = values[order]
    row[groups[order]] = rows[order]
    return best, row


def _share_of_better(columns: CocoColumns, support: np.ndarray) -> np.ndarray:
    """(M,) share of the annotations of the same class, and of about the same size, that have more support.

    A model misses some classes and sizes more often than others, and a box without support says less there.
    """
    if not len(support):
        return support
    areas = columns.boxes_xywh[:, 2:].prod(axis=1)
    fifth_of_size = np.searchsorted(np.quantile(areas, [0.2, 0.4, 0.6, 0.8]), areas)
    classes = columns.annotation_category_ids
    of_all = _share_above(support)
    return (_share_in_groups(classes, support, of_all) + _share_in_groups(fifth_of_size, support, of_all)) / 2


def _share_above(values: np.ndarray) -> np.ndarray:
    """(N,) share of the values that are larger; half of those that are equal count."""
    _, rows, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares: np.ndarray = 1 - (np.cumsum(counts) - counts / 2) / len(values)
    return shares[rows]


def _share_in_groups(groups: np.ndarray, values: np.ndarray, of_all: np.ndarray) -> np.ndarray:
    """The same within each group, averaged with the share in all, which has the weight of `PRIOR_COUNT` annotations."""
    shares = np.empty(len(values))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        own = len(rows) * _share_above(values[rows])
        shares[rows] = (own + PRIOR_COUNT * of_all[rows]) / (len(rows) + PRIOR_COUNT)
    return shares


def _mutual_best(
    pairs: Overlaps, scores: np.ndarray, annotations: int, detections: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detection of each annotation where each is the other's best, −1 if there is none; its score, and its IoU."""
    near = pairs.where(pairs.iou >= NEAR_IOU)
    value = scores[near.second] * near.iou
    number = np.arange(len(value))
    _, of_annotation = _best(near.first, value, number, annotations)
    _, of_detection = _best(near.second, value, number, detections)
    mine = of_annotation[of_annotation >= 0]
    mutual = mine[of_detection[near.second[mine]] == mine]
    row, score, iou = np.full(annotations, -1), np.zeros(annotations), np.zeros(annotations)
    row[near.first[mutual]] = near.second[mutual]
    score[near.first[mutual]] = scores[near.second[mutual]]
    iou[near.first[mutual]] = near.iou[mutual]
    return row, score, iou


def _wrong_class(columns: CocoColumns, detections: Detections, pairs: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    near = pairs.where(pairs.iou >= FOUND_IOU)
    same = columns.annotation_category_ids[near.first] == detections.category_ids[near.second]
    many, scores = len(columns.annotation_ids), detections.scores[near.second]
    own, _ = _best(near.first[same], scores[same], near.second[same], many)
    other, row = _best(near.first[~same], scores[~same], near.second[~same], many)
    return np.clip(other - own, 0, 1), row


def _double(columns: CocoColumns, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overlap with another annotation, if the detections do not show two objects there."""
    boxes, images = columns.boxes_xywh, columns.annotation_image_ids
    pairs = find_overlaps(boxes, images, boxes, images)
    two = pairs.where(pairs.first != pairs.second)
    worse = (fits[two.first] < fits[two.second]) | ((fits[two.first] == fits[two.second]) & (two.first > two.second))
    two = two.where(worse)
    return _best(two.first, two.iou * (1 - fits[two.first]), two.second, len(fits))


def _merged(
    columns: CocoColumns, detections: Detections, pairs: Overlaps, fits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Second best score of the detections that are parts of an annotation, and of no other; rows of both."""
    many, scores = len(columns.annotation_ids), detections.scores
    areas = columns.boxes_xywh[:, 2:].prod(axis=1), detections.boxes_xywh[:, 2:].prod(axis=1)
    small = areas[1][pairs.second] <= PART_AREA_SHARE * areas[0][pairs.first]
    parts = pairs.where(small & (pairs.inside >= INSIDE_SHARE))
    taken, _ = _best(pairs.second, pairs.iou, pairs.first, len(scores))
    parts = parts.where((taken[parts.second] < FOUND_IOU) | (parts.iou >= taken[parts.second]))
    _, first = _best(parts.first, scores[parts.second], parts.second, many)
    rest = parts.where(first[parts.first] != parts.second)
    second, row = _best(rest.first, scores[rest.second], rest.second, many)
    return second * (1 - fits), first, row


def _missed(pairs: Overlaps, detections: Detections, kept: np.ndarray) -> np.ndarray:
    """Score of each detection. It is lowered where an annotation is already at its place, and on images where the
    models find many objects that nobody annotated.
    """
    scores = detections.scores
    iou, _ = _best(pairs.second, pairs.iou, pairs.first, len(scores))
    inside, _ = _best(pairs.second, pairs.inside, pairs.first, len(scores))
    free = (1 - np.minimum(1, iou / FOUND_IOU)) * (1 - np.clip(inside - 0.3, 0, 1))
    reliability = _share_annotated(detections.image_ids, np.where(kept, scores, 0), iou >= FOUND_IOU)
    return np.where(kept, scores * free * reliability**RELIABILITY_POWER, 0)


def _share_annotated(image_ids: np.ndarray, weights: np.ndarray, is_annotated: np.ndarray) -> np.ndarray:
    """(D,) share of the other detections on the same image that have an annotation, by weight. On images with few
    detections it is drawn towards the share over all images. 1 if no detection at all has an annotation.
    """
    if not (weights * is_annotated).any():
        return np.ones(len(weights))
    _, images = np.unique(image_ids, return_inverse=True)
    annotated, found = np.bincount(images, weights * is_annotated), np.bincount(images, weights)
    prior = PRIOR_COUNT * annotated.sum() / found.sum()
    others = found[images] - weights
    shares: np.ndarray = (annotated[images] - weights * is_annotated + prior) / (others + PRIOR_COUNT)
    return shares
