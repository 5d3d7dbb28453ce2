"""Detects predictions whose boxes or ids follow another convention than COCO's, and says which one is likely.

Here: trying conventions on predictions. Not here: the conventions (`box_conventions`), scoring (`score`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.labels.box_conventions import (
    BoxReading,
    farthest_reach,
    read_at_scale,
    read_in_forms,
    read_in_units,
)
from agar_pipeline.scoring.matching import FOUND_IOU, overlaps_xywh, rows_by_image
from agar_pipeline.text.plurals import plural

DOUBTED_MAP_50 = 0.1
"""Other readings are tried only below this mAP@50; they hardly improve the score of a model that is really so bad."""
_IMAGES = 50
_FOUND = 0.3
_TIMES_BETTER = 3.0
"""A reading is reported if it meets the share `_FOUND` of the truth, and this many times as much as the boxes as
written.
"""


def explain_misreading(columns: CocoColumns, detections: Detections, map_50: float | None) -> str | None:
    """A message if the predictions fit the truth in another reading; None if no other is needed, or none fits."""
    if map_50 is None or map_50 >= DOUBTED_MAP_50 or not len(detections):
        return None
    pairs = _of_images_with_both(columns, detections)
    as_written = _share_met(pairs, detections.boxes_xywh)
    if as_written >= _FOUND:
        return _explain_categories(detections, pairs)
    if shifted := _explain_images(columns, detections, as_written):
        return shifted
    rows = np.concatenate([mine for _, mine, _ in pairs]) if pairs else np.zeros(0, np.int64)
    best, words = 0.0, ""
    for reading in _readings(columns, detections, rows):
        boxes_xywh = np.zeros_like(detections.boxes_xywh)
        boxes_xywh[rows] = reading.boxes_xywh
        met = _share_met(pairs, boxes_xywh)
        if met > best:
            best, words = met, reading.words
    if best < max(_FOUND, as_written * _TIMES_BETTER):
        return None
    return (
        f"the predictions match {as_written:.0%} of the annotations as written, and {best:.0%} if bbox is read as "
        f"{words}\nwrite bbox as x, y, width, height in pixels of the photo, then evaluate again"
    )


Pairs = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Per image: its true boxes, the rows of its best detections, the categories of the true boxes."""


def _of_images_with_both(columns: CocoColumns, detections: Detections) -> Pairs:
    pairs: Pairs = []
    for rows in rows_by_image(columns, detections):
        annotations = rows.annotations[~columns.iscrowd[rows.annotations]]
        if len(annotations) and len(rows.detections):
            best = rows.detections[: 2 * len(annotations) + 10]
            pairs.append((columns.boxes_xywh[annotations], best, columns.annotation_category_ids[annotations]))
        if len(pairs) == _IMAGES:
            break
    return pairs


def _share_met(pairs: Pairs, boxes_xywh: np.ndarray) -> float:
    """Share of the true boxes that a detection of any class has found (IoU of at least `FOUND_IOU`)."""
    met = [(overlaps_xywh(truth, boxes_xywh[rows])[0] >= FOUND_IOU).any(axis=1) for truth, rows, _ in pairs]
    return float(np.concatenate(met).mean()) if met else 0.0


def _readings(columns: CocoColumns, detections: Detections, rows: np.ndarray) -> Iterator[BoxReading]:
    """Other readings of the boxes in these rows."""
    boxes = detections.boxes_xywh[rows]
    order = np.argsort(columns.image_ids, kind="stable")
    images = order[np.searchsorted(columns.image_ids[order], detections.image_ids[rows])]
    sizes = np.maximum(columns.sizes_wh[images].astype(np.float64), 1.0)
    yield from read_in_units(boxes, sizes)
    yield from read_in_forms(boxes, sizes)
    for factor in _factors(columns, boxes, sizes):
        yield read_at_scale(boxes, factor)


def _factors(columns: CocoColumns, boxes: np.ndarray, sizes: np.ndarray) -> Iterator[float]:
    """Scales at which the predictions may have been written, estimated from the boxes' sizes and positions."""
    truth = columns.boxes_xywh[~columns.iscrowd]
    known = truth[np.isfinite(truth).all(axis=1) & (truth[:, 2:] > 0).all(axis=1)]
    mine = boxes[(boxes[:, 2:] > 0).all(axis=1)]
    if not len(known) or not len(mine):
        return
    yield float(np.sqrt(np.median(mine[:, 2:].prod(axis=1)) / np.median(known[:, 2:].prod(axis=1))))
    yield float(np.median(mine[:, :2] + mine[:, 2:] / 2) / max(np.median(known[:, :2] + known[:, 2:] / 2), 1e-9))
    reach = max(farthest_reach(mine, sizes[(boxes[:, 2:] > 0).all(axis=1)]))
    yield from (reach, *(0.25, 0.5, 2.0, 4.0))


def _explain_images(columns: CocoColumns, detections: Detections, as_written: float) -> str | None:
    """A message if the boxes fit the next or the previous image: one file counts images from 0, the other from 1."""
    for shift in (1, -1):
        moved = dataclasses.replace(detections, image_ids=detections.image_ids + shift)
        known = moved.take(np.flatnonzero(np.isin(moved.image_ids, columns.image_ids)))
        met = _share_met(_of_images_with_both(columns, known), known.boxes_xywh)
        if met >= max(_FOUND, as_written * _TIMES_BETTER):
            return (
                f"the predictions match {as_written:.0%} of the annotations as written, and {met:.0%} if {shift:+d} is "
                f"added to image_id\nnumber the images as the annotation file does, then evaluate again"
            )
    return None


def _explain_categories(detections: Detections, pairs: Pairs) -> str | None:
    """A message if the boxes fit but the categories do not: by how much their ids are shifted."""
    same = dict.fromkeys((0, 1, -1), 0)
    met = 0
    for truth, rows, categories in pairs:
        iou = overlaps_xywh(truth, detections.boxes_xywh[rows])[0]
        found = iou.max(axis=1) >= FOUND_IOU
        met += int(found.sum())
        predicted = detections.category_ids[rows][iou.argmax(axis=1)]
        for shift in same:
            same[shift] += int((found & (predicted + shift == categories)).sum())
    shift, boxes = max(same, key=lambda each: same[each]), plural(met, "box matches", "boxes match")
    if not met or same[shift] < 0.5 * met:
        return f"{boxes} an annotation of another category: compare the category_ids of the two files"
    if shift == 0:
        return None
    return (
        f"{boxes} an annotation, {same[shift]} of them with its category if {shift:+d} is added to "
        f"category_id\nnumber the categories as the annotation file does, then evaluate again"
    )
