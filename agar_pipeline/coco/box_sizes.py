"""Sizes of boxes on their photos, computed without torch."""

from __future__ import annotations

import numpy as np

from agar_pipeline.coco.columns import CocoColumns


def box_shares(columns: CocoColumns, of_image: bool = True) -> np.ndarray:
    """(N,) square roots of the boxes' areas, as shares of the image's longer side or in pixels of the photo.

    Boxes without a finite area above 0, and boxes without an image, are left out.
    """
    return np.concatenate([_box_shares(piece, of_image) for piece in columns.pieces()])


def _box_shares(columns: CocoColumns, of_image: bool) -> np.ndarray:
    rows, known = columns.image_rows()
    longer_sides = columns.sizes_wh.max(axis=1)[rows[known]] if of_image else 1
    sides_wh = columns.boxes_xywh[known, 2:]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sides = np.sqrt(np.clip(sides_wh[:, 0], 0, None) * np.clip(sides_wh[:, 1], 0, None)) / longer_sides
    return sides[np.isfinite(sides) & (sides > 0)]


def largest_side(columns: CocoColumns, image_side: int | None) -> float:
    """The longest side of all boxes that are not crowds, in pixels of the photo, or of the photo scaled to
    `image_side`.
    """
    rows, known = columns.image_rows()
    sides = columns.boxes_xywh[:, 2:].max(axis=1, initial=0)
    if image_side is not None:
        factors = np.ones(len(sides))
        factors[known] = image_side / columns.sizes_wh.max(axis=1)[rows[known]]
        sides = sides * factors
    counted = sides[~columns.iscrowd]
    return float(counted.max(initial=1.0, where=np.isfinite(counted)))
