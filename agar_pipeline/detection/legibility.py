"""How large colonies are for a model, and the input size at which the small ones can be seen. No torch here."""

from __future__ import annotations

import numpy as np

from agar_pipeline.detection.coco import CocoColumns

LEGIBLE_PX = 16.0
"""What `auto` gives the side of a small colony: the demo's learn best at 8 to 20 px, the paper's patches show 27."""
SMALL_QUANTILE = 0.1
INPUT_SIZES = (128, 2048)
"""Least and most that `auto` chooses; beyond it tiles are the better way."""
MOST_ENLARGED = 2.0
WITHOUT_BOXES = 512


def choose_input_size(columns: CocoColumns, small_quantile: float = SMALL_QUANTILE) -> int:
    """A multiple of 32 at which a small colony has `LEGIBLE_PX`; photos are enlarged twice at most."""
    shares = box_shares(columns)
    if not len(shares):
        return WITHOUT_BOXES
    own = float(np.median(columns.sizes_wh.max(axis=1)))
    wanted = min(LEGIBLE_PX / float(np.quantile(shares, small_quantile)), MOST_ENLARGED * own)
    return int(np.clip(np.ceil(wanted / 32) * 32, *INPUT_SIZES))


def box_shares(columns: CocoColumns, of_image: bool = True) -> np.ndarray:
    """(N,) square roots of the boxes' areas as shares of the image's longer side, or in pixels of the photo."""
    return np.concatenate([_box_shares(piece, of_image) for piece in columns.pieces()])


def _box_shares(columns: CocoColumns, of_image: bool) -> np.ndarray:
    rows, known = columns.image_rows()
    longer_sides = columns.sizes_wh.max(axis=1)[rows[known]] if of_image else 1
    sides_wh = columns.boxes_xywh[known, 2:]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sides = np.sqrt(np.clip(sides_wh[:, 0], 0, None) * np.clip(sides_wh[:, 1], 0, None)) / longer_sides
    return sides[np.isfinite(sides) & (sides > 0)]
