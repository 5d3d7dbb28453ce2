"""The findings that are worth a picture, and the pictures.

Here: choosing and drawing. Not here: the page around them (`bbox_page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.errors import ImageFileError
from agar_pipeline.reports.pictures import BoxLayer, picture_with_boxes
from agar_pipeline.reports.render import number
from agar_pipeline.reports.rule_words import SEVERITY, words_for

if TYPE_CHECKING:
    import pandas as pd

BOX = ["x", "y", "width", "height"]
MARGIN_SHARE = 0.05


def worst_findings(findings: pd.DataFrame, parts: Mapping[str, CocoColumns], most: int) -> list[dict[str, Any]]:
    """Up to `most` findings with a box, of different images: blocking rules first, each rule in turn, worst first."""
    boxes_xywh = findings[BOX].to_numpy(dtype=np.float64, na_value=np.nan)
    drawable = findings[findings["file_name"].notna() & np.isfinite(boxes_xywh).all(axis=1)]
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
    """What the template needs: the picture with the box at fault, or a note why there is none."""
    box_xywh = np.array([[finding[key] for key in BOX]], dtype=np.float64)
    place = ", ".join(f"{key} {number(value)}" for key, value in zip(BOX, box_xywh[0].tolist(), strict=True))
    item = {
        "file_name": str(finding["file_name"]),
        "caption": words_for(str(finding["rule"])).title,
        "place": f"{finding['part']}, image {number(finding['image_id']).replace(',', '')}; {place} px",
        "uri": "",
        "note": "",
    }
    layers = [BoxLayer(_other_boxes_xywh(finding, parts), "context"), BoxLayer(box_xywh, "finding")]
    try:
        source = Path(images_dir) / item["file_name"]
        item["uri"] = picture_with_boxes(source, layers, max_side_px=560, margin_share=MARGIN_SHARE, max_bytes=140_000)
    except ImageFileError as error:
        item["note"] = f"No picture: {error}"
    return item


def _overhang_px(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> float:
    """How far the box leaves its image, pixels; 0 inside."""
    part, row = _image_row(finding, parts)
    if part is None:
        return 0.0
    width, height = part.sizes_wh[row].tolist()
    x, y = float(finding["x"]), float(finding["y"])
    right, bottom = x + float(finding["width"]), y + float(finding["height"])
    return max(0.0, -x, -y, right - width, bottom - height)


def _other_boxes_xywh(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> np.ndarray:
    part, _ = _image_row(finding, parts)
    if part is None:
        return np.zeros((0, 4))
    mine = (part.annotation_image_ids == finding["image_id"]) & (part.annotation_ids != finding["annotation_id"])
    return part.boxes_xywh[mine]


def _image_row(finding: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> tuple[CocoColumns | None, int]:
    part = parts.get(str(finding["part"]))
    rows = np.flatnonzero(part.image_ids == finding["image_id"]) if part is not None else np.zeros(0, np.int64)
    return (part, int(rows[0])) if len(rows) else (None, -1)
