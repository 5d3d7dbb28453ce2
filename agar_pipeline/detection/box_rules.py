"""The rules that every box, annotation and image of a COCO file must keep, applied to whole columns.

Here: finding. Not here: judging, which is the box policy's, or mending.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from agar_pipeline.detection.coco import CocoColumns

BOUNDS_TOLERANCE_PX = 1e-2
"""Relative boxes come back from float64 with errors far below a hundredth of a pixel."""

FINDING_COLUMNS = ("rule", "part", "image_id", "annotation_id", "file_name", "value", "x", "y", "width", "height")


def find_findings(columns: CocoColumns, part: str) -> pd.DataFrame:
    """Every broken rule of one COCO file.

    Returns:
        One row per finding with `FINDING_COLUMNS`; annotation_id is null where an image is at fault, the box columns
        where there is no box.
    """
    rows_by_rule = {rule: find(columns) for rule, find in ANNOTATION_RULES.items()}
    found = [_annotation_findings(columns, part, rule, rows) for rule, rows in rows_by_rule.items()]
    found.append(_image_findings(columns, part, "duplicate_image_id", _repeated(columns.image_ids)))
    return concat_findings(found)


def find_missing_images(columns: CocoColumns, part: str, exists: Sequence[bool]) -> pd.DataFrame:
    """One finding for each image whose file is not there; `exists` is (N,) in the order of the images."""
    return _image_findings(columns, part, "missing_image", np.flatnonzero(~np.asarray(exists, dtype=bool)))


def find_empty_part(columns: CocoColumns, part: str) -> pd.DataFrame:
    """One finding where a part has no images, or where train has no annotation to learn from."""
    value = "0 images" if not len(columns.image_ids) else "0 annotations"
    is_empty = not len(columns.image_ids) or (part == "train" and not len(columns.annotation_ids))
    return pd.DataFrame({"rule": ["empty_part"], "part": [part], "value": [value]} if is_empty else {})


def concat_findings(found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Findings one after the other, with fixed columns and types."""
    filled = [frame.reindex(columns=list(FINDING_COLUMNS)) for frame in found if len(frame)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(FINDING_COLUMNS))
    types = dict.fromkeys(("rule", "part", "file_name", "value"), "string")
    types |= dict.fromkeys(("image_id", "annotation_id"), "Int64") | dict.fromkeys(FINDING_COLUMNS[6:], "float64")
    return table.astype(types)


def _non_finite(columns: CocoColumns) -> np.ndarray:
    return np.flatnonzero(~np.isfinite(columns.boxes_xywh).all(axis=1))


def _degenerate(columns: CocoColumns) -> np.ndarray:
    sides = columns.boxes_xywh[:, 2:]
    return np.flatnonzero(np.isfinite(sides).all(axis=1) & (sides <= 0).any(axis=1))


def _out_of_bounds(columns: CocoColumns) -> np.ndarray:
    index, known = _image_rows(columns)
    boxes = columns.boxes_xywh
    sizes_wh = columns.sizes_wh[index] if len(columns.sizes_wh) else np.zeros((len(boxes), 2))
    beyond = (boxes[:, :2] < -BOUNDS_TOLERANCE_PX) | (boxes[:, :2] + boxes[:, 2:] > sizes_wh + BOUNDS_TOLERANCE_PX)
    return np.flatnonzero(known & np.isfinite(boxes).all(axis=1) & beyond.any(axis=1))


def _duplicate_boxes(columns: CocoColumns) -> np.ndarray:
    table = pd.DataFrame(np.round(columns.boxes_xywh, 6))
    table["image"], table["category"] = columns.annotation_image_ids, columns.annotation_category_ids
    return np.flatnonzero(table.duplicated().to_numpy() & np.isfinite(columns.boxes_xywh).all(axis=1))


def _unknown_classes(columns: CocoColumns) -> np.ndarray:
    return np.flatnonzero(~np.isin(columns.annotation_category_ids, columns.category_ids))


def _unknown_images(columns: CocoColumns) -> np.ndarray:
    return np.flatnonzero(~_image_rows(columns)[1])


def _repeated(ids: np.ndarray) -> np.ndarray:
    return np.flatnonzero(pd.Series(ids).duplicated().to_numpy())


ANNOTATION_RULES: dict[str, Callable[[CocoColumns], np.ndarray]] = {
    "non_finite_box": _non_finite,
    "degenerate_box": _degenerate,
    "out_of_bounds_box": _out_of_bounds,
    "duplicate_box": _duplicate_boxes,
    "unknown_class": _unknown_classes,
    "unknown_image": _unknown_images,
    "duplicate_annotation_id": lambda columns: _repeated(columns.annotation_ids),
}
"""Each gives the rows of the annotations that break the rule."""


def _image_rows(columns: CocoColumns) -> tuple[np.ndarray, np.ndarray]:
    """Row of each annotation's image, (M,), and whether there is one, (M,) bool; the row is 0 where there is none."""
    if not len(columns.image_ids):
        return np.zeros(len(columns.annotation_ids), np.int64), np.zeros(len(columns.annotation_ids), bool)
    sorter = np.argsort(columns.image_ids, kind="stable")
    place = np.searchsorted(columns.image_ids, columns.annotation_image_ids, sorter=sorter)
    index = sorter[np.minimum(place, len(sorter) - 1)]
    known = columns.image_ids[index] == columns.annotation_image_ids
    return np.where(known, index, 0), known


def _annotation_findings(columns: CocoColumns, part: str, rule: str, rows: np.ndarray) -> pd.DataFrame:
    index, known = _image_rows(columns)
    boxes = columns.boxes_xywh[rows]
    values = [
        f"category_id {columns.annotation_category_ids[row]}"
        if rule == "unknown_class"
        else f"x {box[0]:g}, y {box[1]:g}, width {box[2]:g}, height {box[3]:g}"
        for row, box in zip(rows.tolist(), boxes.tolist(), strict=True)
    ]
    names = [str(columns.file_names[index[row]]) if known[row] else None for row in rows]
    return pd.DataFrame(
        {
            "rule": rule,
            "part": part,
            "image_id": columns.annotation_image_ids[rows],
            "annotation_id": columns.annotation_ids[rows],
            "file_name": names,
            "value": values,
            **{name: boxes[:, i] for i, name in enumerate(("x", "y", "width", "height"))},
        }
    )


def _image_findings(columns: CocoColumns, part: str, rule: str, rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rule": rule,
            "part": part,
            "image_id": columns.image_ids[rows],
            "file_name": columns.file_names[rows],
            "value": [f"{width}×{height} px" for width, height in columns.sizes_wh[rows].tolist()],
        }
    )
