"""Finds parts with so many flawed boxes that the whole file must be wrong, and names the likely cause.

Some mistakes show only in the share of boxes that leave their images or are too small, and not in any single box:
corners written as width and height, or shares interpreted as pixels. Here: finding such parts. Not here: the
conventions that are tried (`box_conventions`), the verdict (`findings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.labels.box_conventions import farthest_reach, find_fitting, find_larger
from agar_pipeline.labels.box_rules import concat_findings

RULE = "misread_boxes"
_COUNTED = {
    "out_of_bounds_box": "leave their picture",
    "small_box": "are narrower than a box may be",
    "degenerate_box": "have no area",
    "non_finite_box": "have a side that is not a number",
    "duplicate_box": "are listed twice",
}
_FEWEST = 5
"""Fewer flawed boxes are treated as single mistakes, unless all boxes are flawed."""
_FEWEST_IN_ALL = 3
_OVERHANG_PX, _OVERHANG_SHARE = 2.0, 0.01
"""A box that exceeds its image by less was drawn along the edge: a finding, but no sign of another convention."""
_MOST = 100_000
"""Maximum number of boxes on which readings are tried."""
_NEAR_ORIGIN = 0.51
_ENOUGH_BOXES, _ENOUGH_IMAGES = 20, 3
"""With at least so many boxes and images, it is no coincidence if no box is in the right or the lower half of any
image.
"""


def find_misread_boxes(
    parts: Mapping[str, CocoColumns],
    findings: pd.DataFrame,
    max_flawed_share: float,
    boxes_before: Mapping[str, int],
    min_box_side_px: float,
) -> pd.DataFrame:
    """One finding per part whose boxes seem to be written in another convention.

    Args:
        findings: Findings about the boxes as they were written.
        max_flawed_share: It is a sign of another convention if a larger share of a part's boxes breaks one rule.
        boxes_before: Part → its number of boxes before mending.
        min_box_side_px: A box with a shorter side is a `small_box`.
    """
    said: list[tuple[str, str]] = []
    for part, columns in parts.items():
        in_photo = columns.in_photo_pixels()
        of_part = findings[findings["part"] == part]
        signs = dict(_signs(of_part, in_photo, max_flawed_share, boxes_before[part]))
        if signs:
            counted = f"{'; '.join(signs.values())}, over max_flawed_share {max_flawed_share:.0%}"
            said.append((part, counted + _cause(in_photo, of_part, next(iter(signs)), min_box_side_px)))
        elif sign := _near_origin(in_photo, min_box_side_px):
            said.append((part, sign))
    rows = [pd.DataFrame({"rule": [RULE], "part": [part], "value": [value]}) for part, value in said]
    return concat_findings(rows)


def _signs(of_part: pd.DataFrame, columns: CocoColumns, most: float, boxes: int) -> Iterator[tuple[str, str]]:
    """Rule and half a sentence, for each rule that too many boxes break."""
    for rule, words in _COUNTED.items():
        found = of_part[of_part["rule"] == rule]
        if rule == "out_of_bounds_box":
            found = found[_leave_clearly(found, columns)]
        count = len(found)
        enough = count >= _FEWEST or count == boxes >= _FEWEST_IN_ALL
        if enough and count > most * boxes:
            yield rule, f"{count:,} of {boxes:,} boxes ({count / boxes:.0%}) {words}"


def _leave_clearly(found: pd.DataFrame, columns: CocoColumns) -> np.ndarray:
    """(F,) bool: the box leaves its image by more than drawing along an edge explains, or its image is not known."""
    sizes, known = _sizes_of(found["image_id"].to_numpy(np.int64), columns)
    boxes = found[XYWH_COLUMNS].to_numpy(np.float64)
    slack = np.maximum(_OVERHANG_PX, _OVERHANG_SHARE * sizes)
    inside = (boxes[:, :2] >= -slack).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] <= sizes + slack).all(axis=1)
    return ~inside | ~known


def _sizes_of(image_ids: np.ndarray, columns: CocoColumns) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) sizes of these images, and (M,) whether they are known."""
    place = pd.Index(columns.image_ids).drop_duplicates()
    first = np.flatnonzero(~pd.Index(columns.image_ids).duplicated())
    rows = place.get_indexer(image_ids)
    sizes = np.asarray(columns.sizes_wh, dtype=np.float64)[first[rows]] if len(first) else np.ones((len(rows), 2))
    return sizes, (rows >= 0) & (sizes > 0).all(axis=1)


def _cause(columns: CocoColumns, of_part: pd.DataFrame, rule: str, shortest_px: float) -> str:
    """The rest of the sentence: the reading that fits, tried on all boxes of the images with flawed boxes."""
    if rule == "duplicate_box":
        return ": were two exports joined, or one imported twice?"
    if rule == "non_finite_box":
        return ": export the file again"
    flawed = of_part[of_part["rule"].isin(_COUNTED) & of_part["annotation_id"].notna()]
    as_drawn = flawed["rule"] == "out_of_bounds_box"  # findings of other rules may describe the clipped box
    flawed = pd.concat([flawed[as_drawn], flawed[~as_drawn]]).drop_duplicates("annotation_id")
    kept = np.isin(columns.annotation_image_ids, flawed["image_id"].to_numpy(np.int64))
    kept &= ~np.isin(columns.annotation_ids, flawed["annotation_id"].to_numpy(np.int64))
    boxes = np.concatenate([flawed[XYWH_COLUMNS].to_numpy(np.float64), columns.boxes_xywh[kept]])
    image_ids = np.concatenate([flawed["image_id"].to_numpy(np.int64), columns.annotation_image_ids[kept]])
    sizes, known = _sizes_of(image_ids, columns)
    usable = np.flatnonzero(known & np.isfinite(boxes).all(axis=1))[:_MOST]
    found = find_fitting(boxes[usable], sizes[usable], max(shortest_px, 1.0))
    if found is None:
        return ": none of the other box formats that were tried fits them better; look at the boxes on their photos"
    words, count = found
    return f"; if they are read as {words}, {count:,} of {len(usable):,} fit their pictures: were they written so?"


def _near_origin(columns: CocoColumns, shortest_px: float) -> str | None:
    """A message if all of many boxes lie in the upper left quarter of their images, else None."""
    reach, count = np.zeros(2), 0
    images: set[int] = set()
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for piece in columns.pieces():
        sizes, known = _sizes_of(piece.annotation_image_ids, columns)
        usable = np.flatnonzero(known & np.isfinite(piece.boxes_xywh).all(axis=1) & ~piece.iscrowd)
        boxes, sizes = piece.boxes_xywh[usable], sizes[usable]
        reach = np.maximum(reach, farthest_reach(boxes, sizes))
        if (reach > _NEAR_ORIGIN).any():
            return None
        kept.append((boxes[:_MOST], sizes[:_MOST]))
        count += len(usable)
        images.update(np.unique(piece.annotation_image_ids[usable]).tolist())
    if count < _ENOUGH_BOXES or len(images) < _ENOUGH_IMAGES:
        return None
    boxes, sizes = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
    words = find_larger(boxes, sizes, max(shortest_px, 1.0))
    return words and (
        f"all {count:,} boxes lie in the left upper {reach[0]:.0%} × {reach[1]:.0%} of their pictures; "
        f"if they are read as {words}, they fill them: were they written so?"
    )
