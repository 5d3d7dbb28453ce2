"""Applies the box policy: clips or drops boxes, drops images, and counts every change.

Here: applying actions to columns. Not here: finding (`box_rules`, `image_rules`, `file_checks`), the verdict
(`findings`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from agar_pipeline.coco.box_formats import xyxy_to_xywh
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import Action, BoxRule
from agar_pipeline.labels.box_rules import (
    concat_findings,
    describe_rows,
    find_box_rows,
    place_boxes,
)
from agar_pipeline.labels.file_checks import FILE_RULES

CLIPPED: BoxRule = "out_of_bounds_box"


@dataclass(frozen=True)
class Mended:
    """What remains of one part, and the changes."""

    columns: CocoColumns
    findings: pd.DataFrame
    """Findings that the remaining columns do not show.

    These are all mended findings, those about files, unknown classes, and images that are not labelled.
    """
    counts: dict[str, int]
    """images_before, annotations_before, images_dropped, annotations_dropped (including those of dropped images),
    annotations_clipped (and kept), images, annotations.
    """


def mend_part(
    columns: CocoColumns,
    part: str,
    actions: Mapping[BoxRule, Action],
    min_box_side_px: float,
    image_findings: pd.DataFrame,
) -> Mended:
    """Apply the actions that change annotations.

    Boxes are clipped first, and the clipped boxes are checked against all other rules: a box that was outside its image
    then has no area, and the action for boxes without area applies to it.

    Args:
        columns: Images of one part with all their annotations, as annotated.
        actions: Rule → `drop_box`, `drop_image` or `clip`; rules that are not listed change nothing.
        min_box_side_px: A box with a shorter side is a `small_box`.
        image_findings: Findings about these images and their files.
    """
    box_rows = find_box_rows(columns, min_box_side_px)
    beyond, clipped = box_rows[CLIPPED], columns
    if actions.get(CLIPPED) == "clip" and len(beyond):
        clipped = clip_boxes(columns, beyond)
        box_rows = find_box_rows(clipped, min_box_side_px) | {CLIPPED: beyond}
    described = [
        describe_rows(columns if rule == CLIPPED else clipped, part, rule, rows)
        for rule, rows in box_rows.items()
        if rule in actions or rule == "unknown_class"
    ]
    box_kept, image_kept = _kept(columns, box_rows, image_findings, actions)
    findings = concat_findings([*described, image_findings])
    mended = findings["rule"].isin(list(actions)).to_numpy()
    unseen = findings["rule"].isin([*FILE_RULES, "unknown_class", "unlabelled_image"])
    lasting = _is_kept(findings, columns, box_kept, image_kept) & unseen
    clipped_kept = int(np.count_nonzero(box_kept[beyond])) if clipped is not columns else 0
    kept = clipped.take_annotations(box_kept).take_image_columns(image_kept)
    counts = {
        "images_before": len(columns.image_ids),
        "annotations_before": len(columns.annotation_ids),
        "images_dropped": int(np.count_nonzero(~image_kept)),
        "annotations_dropped": int(np.count_nonzero(~box_kept)),
        "annotations_clipped": clipped_kept,
        "images": len(kept.image_ids),
        "annotations": len(kept.annotation_ids),
    }
    return Mended(kept, findings[mended | lasting].reset_index(drop=True), counts)


def _kept(
    columns: CocoColumns,
    box_rows: Mapping[str, np.ndarray],
    image_findings: pd.DataFrame,
    actions: Mapping[BoxRule, Action],
) -> tuple[np.ndarray, np.ndarray]:
    """Which annotations, (M,) bool, and which images, (N,) bool, are kept."""
    box_kept = np.ones(len(columns.annotation_ids), bool)
    dropping = [rule for rule, action in actions.items() if action == "drop_image"]
    dropped_ids = [image_findings.loc[image_findings["rule"].isin(dropping), "image_id"].to_numpy(np.int64)]
    for rule, action in actions.items():
        rows = box_rows.get(rule, np.zeros(0, np.int64))
        if action in {"drop_box", "drop_image"}:
            box_kept[rows] = False
        if action == "drop_image":
            dropped_ids.append(columns.annotation_image_ids[rows])
    dropped = np.unique(np.concatenate(dropped_ids))
    box_kept &= ~np.isin(columns.annotation_image_ids, dropped)
    return box_kept, ~np.isin(columns.image_ids, dropped)


def _is_kept(findings: pd.DataFrame, columns: CocoColumns, box_kept: np.ndarray, image_kept: np.ndarray) -> np.ndarray:
    """(F,) bool: the finding is about an image and an annotation that are kept."""
    image_left = findings["image_id"].isin(columns.image_ids[image_kept])
    box_left = findings["annotation_id"].isna() | findings["annotation_id"].isin(columns.annotation_ids[box_kept])
    return (image_left & box_left).to_numpy()


def clip_boxes(columns: CocoColumns, rows: np.ndarray) -> CocoColumns:
    """Clip the boxes of these rows to their images; a box outside its image then has no area."""
    boxes_xywh = columns.boxes_xywh.copy()
    limits = columns.sizes_wh[place_boxes(columns).image_rows[rows]] if len(rows) else np.zeros((0, 2))
    low = boxes_xywh[rows, :2]
    corners = np.concatenate([low, low + boxes_xywh[rows, 2:]], axis=1)
    boxes_xywh[rows] = xyxy_to_xywh(np.clip(corners, 0, np.concatenate([limits, limits], axis=1)))
    return dataclasses.replace(columns, boxes_xywh=boxes_xywh)
