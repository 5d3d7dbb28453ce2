"""The rules for annotations in a COCO file, applied to whole columns.

Here: finding. Not here: the verdict (`findings`), mending (`mending`), rules for images and files (`image_rules`,
`file_checks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pandas as pd

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import PIECE, CocoColumns
from agar_pipeline.config import MIN_BOX_SIDE_PX

BOUNDS_TOLERANCE_PX = 1e-2
"""Boxes stored as shares of the image have float64 errors far below a hundredth of a pixel."""
SAME_PLACE_DECIMALS = 6

FINDING_COLUMNS = ("rule", "part", "image_id", "annotation_id", "file_name", "value", *XYWH_COLUMNS)
RowsByRule = dict[str, np.ndarray]
"""Rule → rows of the annotations that break it, ascending."""


def find_box_findings(columns: CocoColumns, part: str, min_box_side_px: float = MIN_BOX_SIDE_PX) -> pd.DataFrame:
    """All findings about the annotations of one COCO file.

    Returns:
        One row per finding with `FINDING_COLUMNS`.
    """
    found = find_box_rows(columns, min_box_side_px)
    return concat_findings([describe_rows(columns, part, rule, rows) for rule, rows in found.items()])


def find_box_rows(columns: CocoColumns, min_box_side_px: float = MIN_BOX_SIDE_PX) -> RowsByRule:
    """The rows that break each annotation rule; a box that breaks several rules is listed for each of them.

    A box that is not finite is not checked for size and position, and a box without area is not checked for bounds.
    """
    found: dict[str, list[np.ndarray]] = {}
    keys = np.empty(len(columns.annotation_ids), np.uint64)
    for first, piece in zip(count(0, PIECE), columns.pieces(), strict=False):
        place = place_boxes(piece)
        masks = {
            "non_finite_box": ~place.finite,
            "degenerate_box": place.finite & (place.shorter_side <= 0),
            "small_box": place.finite & (place.shorter_side > 0) & (place.shorter_side < min_box_side_px),
            "out_of_bounds_box": place.beyond,
            "unknown_class": ~np.isin(piece.annotation_category_ids, piece.category_ids),
            "unknown_image": ~place.image_known,
            "negative_id": piece.annotation_ids < 0,
        }
        for rule, mask in masks.items():
            found.setdefault(rule, []).append(np.flatnonzero(mask) + first)
        keys[first : first + PIECE] = _hash_places(piece)
    rows = {rule: np.concatenate(parts) for rule, parts in found.items()}
    rows["duplicate_box"] = _duplicate_boxes(columns, keys)
    rows["duplicate_annotation_id"] = repeated(columns.annotation_ids)
    return rows


@dataclass(frozen=True)
class BoxPlaces:
    """Positions of M boxes in their images, column by column."""

    sides: tuple[np.ndarray, ...]
    """x, y, width, height, each (M,) float64."""
    finite: np.ndarray
    """(M,) bool."""
    shorter_side: np.ndarray
    """(M,) float64."""
    image_rows: np.ndarray
    """(M,) int64 row of the box's image; 0 if there is none."""
    image_known: np.ndarray
    """(M,) bool."""
    beyond: np.ndarray
    """(M,) bool: a box with an area exceeds its image by more than the tolerance."""


def place_boxes(columns: CocoColumns) -> BoxPlaces:
    x, y, width, height = (np.ascontiguousarray(columns.boxes_xywh[:, side]) for side in range(4))
    finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(width) & np.isfinite(height)
    shorter_side = np.minimum(width, height)
    image_rows, image_known = columns.image_rows()
    sizes = columns.sizes_wh.astype(np.float64) if len(columns.sizes_wh) else np.zeros((1, 2))
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = (x < -BOUNDS_TOLERANCE_PX) | (y < -BOUNDS_TOLERANCE_PX)
        beyond |= x + width > (sizes[:, 0] + BOUNDS_TOLERANCE_PX)[image_rows]
        beyond |= y + height > (sizes[:, 1] + BOUNDS_TOLERANCE_PX)[image_rows]
        beyond &= finite & image_known & (shorter_side > 0)
    return BoxPlaces((x, y, width, height), finite, shorter_side, image_rows, image_known, beyond)


def _rounded_sides(columns: CocoColumns, rows: np.ndarray | slice) -> list[np.ndarray]:
    """x, y, width, height of these boxes, rounded so that boxes at the same place have equal values."""
    boxes = columns.boxes_xywh[rows]
    with np.errstate(invalid="ignore", over="ignore"):
        return [np.rint(boxes[:, side] * 10**SAME_PLACE_DECIMALS) + 0.0 for side in range(4)]  # -0.0 becomes 0.0


def _hash_places(columns: CocoColumns) -> np.ndarray:
    """(M,) uint64, equal for boxes of the same class at the same place in the same image."""
    rounded = _rounded_sides(columns, slice(None))
    keys = columns.annotation_image_ids.astype(np.uint64)
    for column in [columns.annotation_category_ids.astype(np.uint64), *(side.view(np.uint64) for side in rounded)]:
        keys = (keys ^ (keys >> np.uint64(29)) ^ column) * np.uint64(0x9E3779B97F4A7C15)
    return keys


def _duplicate_boxes(columns: CocoColumns, keys: np.ndarray) -> np.ndarray:
    """Rows of boxes that repeat an earlier box: same class, same place, same image.

    Only boxes whose hash occurs more than once are compared.
    """
    in_order = np.sort(keys)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(twice):
        return twice.astype(np.int64)
    candidates = [np.flatnonzero(np.isin(keys[i : i + PIECE], twice)) + i for i in range(0, len(keys), PIECE)]
    rows = np.concatenate(candidates)
    rows = rows[np.isfinite(columns.boxes_xywh[rows]).all(axis=1)]
    table = pd.DataFrame({str(number): side for number, side in enumerate(_rounded_sides(columns, rows))})
    table["image"], table["category"] = columns.annotation_image_ids[rows], columns.annotation_category_ids[rows]
    return rows[table.duplicated().to_numpy()]


def repeated(ids: np.ndarray) -> np.ndarray:
    """Rows whose id occurs in an earlier row.

    >>> repeated(np.array([7, 3, 7])).tolist()
    [2]
    """
    if len(ids) < 2 or (ids[1:] > ids[:-1]).all():
        return np.zeros(0, np.int64)
    return np.flatnonzero(pd.Series(ids).duplicated().to_numpy())


def describe_rows(columns: CocoColumns, part: str, rule: str, rows: np.ndarray) -> pd.DataFrame:
    if not len(rows):
        return pd.DataFrame()
    broken = columns.take_annotations(rows)
    image_rows, known = broken.image_rows()
    boxes = broken.boxes_xywh
    return pd.DataFrame(
        {
            "rule": rule,
            "part": part,
            "image_id": columns.annotation_image_ids[rows],
            "annotation_id": columns.annotation_ids[rows],
            "file_name": [
                str(columns.file_names[row]) if there else None for row, there in zip(image_rows, known, strict=True)
            ],
            "value": _values(columns, rule, rows),
            **{name: boxes[:, i] for i, name in enumerate(XYWH_COLUMNS)},
        }
    )


def _values(columns: CocoColumns, rule: str, rows: np.ndarray) -> list[str]:
    if rule == "unknown_class":
        known = columns.category_ids
        range_text = f"; the categories are {known.min()}…{known.max()}" if len(known) else "; there are no categories"
        return [f"category_id {category_id}{range_text}" for category_id in columns.annotation_category_ids[rows]]
    if rule == "unknown_image":
        return [f"image_id {image_id}" for image_id in columns.annotation_image_ids[rows]]
    if rule in {"negative_id", "duplicate_annotation_id"}:
        return [f"annotation id {annotation_id}" for annotation_id in columns.annotation_ids[rows]]
    boxes = columns.boxes_xywh[rows].tolist()
    return [f"x {x:g}, y {y:g}, width {width:g}, height {height:g}" for x, y, width, height in boxes]


def concat_findings(found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate findings, with fixed columns and types."""
    filled = [frame.reindex(columns=list(FINDING_COLUMNS)) for frame in found if len(frame)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(FINDING_COLUMNS))
    types = dict.fromkeys(("rule", "part", "file_name", "value"), "string")
    types |= dict.fromkeys(("image_id", "annotation_id"), "Int64") | dict.fromkeys(FINDING_COLUMNS[6:], "float64")
    return table.astype(types)
