"""Errors made on purpose in a copy of the labels, to learn what evidence an error of each kind leaves.

Here: which labels are damaged, and how. Not here: what is learnt from them (`probability`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.review.overlaps import find_overlaps

SHARE = 0.06
"""Share of the annotations that are damaged in each way in one trial: few, so that neighbours are as before."""


@dataclass(frozen=True)
class Trial:
    """A copy of the labels with errors."""

    columns: CocoColumns
    rows: dict[str, np.ndarray]
    """Kind of an error of an annotation → rows of `columns` that have it."""
    lost_xywh: np.ndarray
    """(L, 4) boxes of the annotations that were removed."""
    lost_image_ids: np.ndarray
    """(L,)."""


def make_trial(columns: CocoColumns, rng: np.random.Generator) -> Trial:
    """Damage `SHARE` of the annotations in each way; `double_box` and `box_too_many` add rows at the end."""
    many = len(columns.annotation_ids)
    count = max(1, round(SHARE * many))
    first, second = _neighbours(columns, rng, count)
    free = np.setdiff1d(np.arange(many), np.concatenate([first, second]))
    rng.shuffle(free)
    lost, swapped, moved, doubled, copied = np.array_split(free[: 5 * count], 5)
    boxes, categories = np.array(columns.boxes_xywh), np.array(columns.annotation_category_ids)
    images = columns.annotation_image_ids
    if len(columns.category_ids) > 1:
        categories[swapped] = _another(columns, categories[swapped], rng)
    boxes[moved] = _moved(boxes[moved], rng)
    boxes[first] = _joined(boxes[first], boxes[second])
    twins = columns.boxes_xywh[doubled] + rng.normal(0, 0.05, (len(doubled), 4)) * np.tile(boxes[doubled, 2:], 2)
    elsewhere, places = _elsewhere(columns, copied, rng)
    kept = np.ones(many, bool)
    kept[lost] = kept[second] = False
    new_row = np.cumsum(kept) - 1
    total = int(kept.sum())
    added = np.concatenate([doubled, copied])
    trial = dataclasses.replace(
        columns,
        annotation_ids=np.arange(total + len(added)),
        annotation_image_ids=np.concatenate([images[kept], images[doubled], elsewhere]),
        annotation_category_ids=np.concatenate([categories[kept], categories[added]]),
        boxes_xywh=np.concatenate([boxes[kept], twins, places]),
        iscrowd=np.zeros(total + len(added), bool),
    )
    rows = {
        "wrong_class": new_row[swapped] if len(columns.category_ids) > 1 else swapped[:0],
        "poor_box": new_row[moved],
        "merged_box": new_row[first],
        "double_box": np.concatenate([new_row[doubled], total + np.arange(len(doubled))]),
        "box_too_many": _unmatched(columns, elsewhere, places) + total + len(doubled),
    }
    return Trial(trial, rows, columns.boxes_xywh[lost], images[lost])


def _another(columns: CocoColumns, category_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.choice(columns.annotation_category_ids, len(category_ids))
    other = rng.choice(columns.category_ids, len(category_ids))
    drawn = np.where(drawn == category_ids, other, drawn)
    following = columns.category_ids[(np.searchsorted(columns.category_ids, drawn) + 1) % len(columns.category_ids)]
    return np.where(drawn == category_ids, following, drawn)


def _moved(boxes_xywh: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes whose sides and place are wrong by a quarter to a half."""
    sides = boxes_xywh[:, 2:]
    wrong = rng.choice([-1.0, 1.0], sides.shape) * rng.uniform(0.1, 0.4, sides.shape)
    scaled = sides * np.exp(rng.choice([-1.0, 1.0], sides.shape) * rng.uniform(0.1, 0.45, sides.shape))
    return np.concatenate([boxes_xywh[:, :2] + sides / 2 + wrong * sides - scaled / 2, scaled], axis=1)


def _joined(one_xywh: np.ndarray, other_xywh: np.ndarray) -> np.ndarray:
    low = np.minimum(one_xywh[:, :2], other_xywh[:, :2])
    high = np.maximum(one_xywh[:, :2] + one_xywh[:, 2:], other_xywh[:, :2] + other_xywh[:, 2:])
    return np.concatenate([low, high - low], axis=1)


def _neighbours(columns: CocoColumns, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of at most `count` pairs of annotations that touch, or nearly do; no row is in two pairs."""
    boxes, images = columns.boxes_xywh, columns.annotation_image_ids
    wide = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 4, boxes[:, 2:] * 1.5], axis=1)
    pairs = find_overlaps(wide, images, wide, images)
    pairs = pairs.where((pairs.first < pairs.second) & (pairs.iou > 0.08) & (pairs.iou < 0.5))
    drawn = rng.permutation(len(pairs.first))
    first, second = pairs.first[drawn], pairs.second[drawn]
    rows = np.stack([first, second], axis=1).ravel()
    earliest = np.full(len(boxes), len(rows))
    np.minimum.at(earliest, rows, np.arange(len(rows)) // 2)
    alone = (earliest[first] == np.arange(len(first))) & (earliest[second] == np.arange(len(first)))
    return first[alone][:count], second[alone][:count]


def _elsewhere(columns: CocoColumns, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of these rows at drawn places in drawn images: image id, box."""
    drawn = rng.integers(len(columns.image_ids), size=len(rows))
    sides = columns.boxes_xywh[rows, 2:]
    corners = rng.uniform(0, 1, sides.shape) * np.maximum(columns.sizes_wh[drawn] - sides, 0)
    return columns.image_ids[drawn], np.concatenate([corners, sides], axis=1)


def _unmatched(columns: CocoColumns, image_ids: np.ndarray, boxes_xywh: np.ndarray) -> np.ndarray:
    pairs = find_overlaps(boxes_xywh, image_ids, columns.boxes_xywh, columns.annotation_image_ids)
    return np.setdiff1d(np.arange(len(boxes_xywh)), pairs.first[pairs.iou > 0.05])
