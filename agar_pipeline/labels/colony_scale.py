"""Measures colony sizes on the photos, and chooses the photo scale at which colonies are learnt best.

Statistics of the boxes of train, without torch. Not here: crops and batch size (`fitting.data_choice`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agar_pipeline.coco.box_sizes import box_shares
from agar_pipeline.coco.columns import CocoColumns

COLONY_PX = 20.0
"""Wanted side of the median colony, pixels at the chosen scale."""
SMALL_PX = 11.0
"""Minimum wanted side of a small colony (`SMALL_QUANTILE`), pixels at the chosen scale."""
SMALL_QUANTILE = 0.1
LARGE_QUANTILE = 0.98
SCALES = tuple(int(np.ceil(128 * 2 ** (step / 4) / 32) * 32) for step in range(25))
"""Possible longer sides, pixels: multiples of 32 in steps of about a quarter octave, so that a few more photos seldom
change the choice.
"""
MOST_ENLARGED = 2.0
"""Maximum enlargement; a photo that is enlarged more shows no more detail."""
WITHOUT_BOXES = 512


@dataclass(frozen=True)
class ColonySizes:
    """Sides of colonies: square roots of the boxes' areas, as shares of the photo's longer side."""

    small: float
    median: float
    large: float
    photo_side: float
    """Median longer side of the photos, pixels."""


def measure_sizes(columns: CocoColumns) -> ColonySizes | None:
    """Sizes of the colonies; None if no box has an area."""
    shares = box_shares(columns)
    if not len(shares):
        return None
    small, median, large = np.quantile(shares, [SMALL_QUANTILE, 0.5, LARGE_QUANTILE]).tolist()
    return ColonySizes(small, median, large, float(np.median(columns.sizes_wh.max(axis=1))))


def choose_scale(sizes: ColonySizes | None) -> int:
    """Longer side, pixels, of the scale in `SCALES` that is nearest to the wanted sizes `COLONY_PX` and `SMALL_PX`.

    >>> choose_scale(ColonySizes(small=0.01, median=0.02, large=0.05, photo_side=4000))
    1024
    """
    if sizes is None:
        return WITHOUT_BOXES
    wanted = max(COLONY_PX / sizes.median, SMALL_PX / sizes.small)
    allowed = [side for side in SCALES if side <= MOST_ENLARGED * sizes.photo_side] or [SCALES[0]]
    return min(allowed, key=lambda side: abs(np.log(side / wanted)))
