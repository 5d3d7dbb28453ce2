"""How large colonies are on their photos, and the scale of the photos at which they are learnt best.

Figures from the boxes of train, without torch. Not here: crops and batch (`fitting.data_choice`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agar_pipeline.coco.box_sizes import box_shares
from agar_pipeline.coco.columns import CocoColumns

COLONY_PX = 20.0
"""Side of the median colony at the scale at which it is learnt best."""
SMALL_PX = 11.0
"""Least side of a small colony (`SMALL_QUANTILE`) at that scale."""
SMALL_QUANTILE = 0.1
LARGE_QUANTILE = 0.98
SCALES = tuple(int(np.ceil(128 * 2 ** (step / 4) / 32) * 32) for step in range(25))
"""Longer sides to choose from, pixels: multiples of 32 a quarter of an octave apart, so that a few more photos seldom
change the choice."""
MOST_ENLARGED = 2.0
"""Beyond it a photo has nothing more to show."""
WITHOUT_BOXES = 512


@dataclass(frozen=True)
class ColonySizes:
    """Sides are square roots of the boxes' areas, as shares of the photo's longer side."""

    small: float
    median: float
    large: float
    photo_side: float
    """Median longer side of the photos, pixels."""


def measure_sizes(columns: CocoColumns) -> ColonySizes | None:
    """None where no box has an area."""
    shares = box_shares(columns)
    if not len(shares):
        return None
    small, median, large = np.quantile(shares, [SMALL_QUANTILE, 0.5, LARGE_QUANTILE]).tolist()
    return ColonySizes(small, median, large, float(np.median(columns.sizes_wh.max(axis=1))))


def choose_scale(sizes: ColonySizes | None) -> int:
    """Longer side, pixels, at which the median colony has `COLONY_PX` and a small one `SMALL_PX` at least."""
    if sizes is None:
        return WITHOUT_BOXES
    wanted = max(COLONY_PX / sizes.median, SMALL_PX / sizes.small)
    allowed = [side for side in SCALES if side <= MOST_ENLARGED * sizes.photo_side] or [SCALES[0]]
    return min(allowed, key=lambda side: abs(np.log(side / wanted)))
