"""Chooses the findings that the bbox report shows as pictures, and draws them.

Here: choosing and drawing. Not here: the page around them (`bbox_page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.image_paths import safe_image_path
from agar_pipeline.reports.number_formats import is_null, number
from agar_pipeline.reports.pictures import BoxLayer, picture_with_boxes
from agar_pipeline.reports.rule_words import SEVERITY, words_for

if TYPE_CHECKING:
    import pandas as pd

MARGIN_SHARE = 0.05
LOOKED_AT = 5000
"""Maximum number of findings of each rule among which the worst are searched."""
DRAWN_WITHOUT_BOX = ("image_size_mismatch", "rotated_image", "damaged_image")
"""Rules about images for which all boxes of the image are drawn, because they show the fault."""


def worst_findings(findings: pd.DataFrame, parts: Mapping[str, CocoColumns], most: int) -> list[dict[str, Any]]:
    """Return up to `most` findings that can be drawn, each of another image.

    One finding per rule is taken in turn, blocking rules first, boxes that extend furthest outside of the image first.
    """
    findings = findings.groupby("rule", sort=False).head(LOOKED_AT)
    boxes_xywh = findings[XYWH_COLUMNS].to_numpy(dtype=np.float64, na_value=np.nan)
    has_box, about_image = np.isfinite(boxes_xywh).all(axis=1), findings["rule"].isin(DRAWN_WITHOUT_BOX)
    drawable = findings[findings["file_name"].notna() & (has_box | about_image)]
    drawable = drawable.assign(
        overhang_px=[_overhang_px(row, parts) for row in drawable.to_dict("records")],
        severity=[SEVERITY.get(str(action), len(SEVERITY)) for action in drawable["action"]],
    )
    drawable = drawable.sort_values("overhang_px", ascending=False, kind="stable")
    drawable = drawable.drop_duplicates(["rule", "file_name"])
    drawable = drawable.assign(turn=drawable.groupby("rule", sort=False).cumcount())
    drawable = drawable.sort_values(["turn", "severity", "rule"], kind="stable").drop_duplicates("file_name")
    return [{str(key): value for key, value in row.items()} for row in drawable.head(most).to_dict("records")]


def picture_of_finding(
    finding: Mapping[str, Any], parts: Mapping[str, CocoColumns], images_dir: Path
) -> dict[str, Any]:
    """Return what the template needs: the picture with the box at fault, or a note why there is none."""
    box_xywh = np.array([[finding[key] for key in XYWH_COLUMNS]], dtype=np.float64)
    place = (
        ", ".join(f"{key} {number(value)}" for key, value in zip(XYWH_COLUMNS, box_xywh[0].tolist(), strict=True))
        + " px"
    )
    if not np.isfinite(box_xywh).all():
        place = str(finding["value"])
    item = {
        "file_name": str(finding["file_name"]),
        "caption": words_for(str(finding["rule"])).title,
        "place": f"{finding['part']}, image {number(finding['image_id']).replace(',', '')}; {place}",
        "uri": "",
        "note": "",
    }
    at_fault = BoxLayer(box_xywh * _scale_xywh(finding, parts), "finding")
    layers = [BoxLayer(_other_boxes_xywh(finding, parts), "context"), at_fault]
    try:
        source = safe_image_path(images_dir, item["file_name"])
        item["uri"] = picture_with_boxes(source, layers, max_side_px=560, margin_share=MARGIN_SHARE, max_bytes=140_000)
    except ImageFileError as error:
        item["note"] = f"No picture: {error.in_one_line}"
    return item


def _overhang_px(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> float:
    """Return how far the box extends outside of its image, pixels; 0 if it is inside."""
    part, row = _image_row(finding, parts)
    if part is None:
        return 0.0
    width, height = part.original_sizes_wh[row].tolist()
    x, y = float(finding["x"]), float(finding["y"])
    right, bottom = x + float(finding["width"]), y + float(finding["height"])
    return max(0.0, -x, -y, right - width, bottom - height)


def _scale_xywh(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> np.ndarray:
    """Return (4,) pixels of the stored image per pixel of the original image, in which findings are given."""
    part, row = _image_row(finding, parts)
    return np.ones(4) if part is None else np.tile(part.sizes_wh[row] / part.original_sizes_wh[row], 2)


def _other_boxes_xywh(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> np.ndarray:
    part, _ = _image_row(finding, parts)
    if part is None:
        return np.zeros((0, 4))
    mine = part.annotation_image_ids == finding["image_id"]
    if not is_null(finding["annotation_id"]):
        mine = mine & (part.annotation_ids != finding["annotation_id"])
    return part.boxes_xywh[mine]


def _image_row(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> tuple[CocoColumns | None, int]:
    part = parts.get(str(finding["part"]))
    rows = np.flatnonzero(part.image_ids == finding["image_id"]) if part is not None else np.zeros(0, np.int64)
    return (part, int(rows[0])) if len(rows) else (None, -1)
