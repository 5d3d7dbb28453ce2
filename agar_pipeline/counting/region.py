"""Where colonies count: on the whole photo, inside the dish of each photo, or inside a circle that is always the same.

Here: the choice on val, and which boxes lie inside. Not here: finding a dish (`dish`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.counting.dish import Circle, find_dish, inside

LEAST_FOUND = 0.95
"""Share of val's photos on which a dish must be found for `auto` to choose it."""
MOST_OUTSIDE = 0.005
"""Largest share of val's annotated colonies outside the dishes for `auto` to choose them."""


@dataclass(frozen=True)
class Region:
    """Where colonies count, and why."""

    use: Literal["dish", "photo", "circle"] = "photo"
    reason: str = "no dish was looked for"
    circle: Circle | None = None
    """For `circle`: the one of all photos."""

    def circle_on(self, pixels: np.ndarray) -> Circle | None:
        """The circle outside which nothing counts on this photo, (H, W, 3) uint8; None: the whole photo counts."""
        return find_dish(pixels) if self.use == "dish" else self.circle

    def to_plain(self) -> dict[str, Any]:
        circle = None if self.circle is None else self.circle.to_plain()
        return {"use": self.use, "reason": self.reason, "circle": circle}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Region:
        circle = None if plain["circle"] is None else Circle.from_plain(plain["circle"])
        return cls(plain["use"], plain["reason"], circle)


def fixed_region(rule: str | tuple[float, float, float]) -> Region | None:
    """The region that `counting.region` states; None for `auto`, which is chosen on val."""
    if not isinstance(rule, str):
        return Region("circle", "it is given in the pipeline file", Circle(*rule))
    if rule == "photo":
        return Region("photo", "the pipeline file says so")
    return Region("dish", "the pipeline file says so") if rule == "dish" else None


def choose_region(circles: Sequence[Circle | None], columns: CocoColumns) -> Region:
    """Choose between dish and photo on val.

    Args:
        circles: The dish of each photo, in the order of `columns`; None where none is found.
        columns: The annotations of val, of the classes that count.
    """
    photos, found = len(circles), sum(circle is not None for circle in circles)
    if not photos:
        return Region("photo", "val has no photo on which a dish could be found")
    if found < LEAST_FOUND * photos:
        return Region("photo", f"no dish is found on {photos - found} of {photos} photos of val")
    columns = columns.without_crowds()
    is_inside = inside_circles(circles, columns, columns.annotation_image_ids, columns.boxes_xywh)
    colonies, outside = len(is_inside), int(np.count_nonzero(~is_inside))
    if outside > MOST_OUTSIDE * colonies:
        words = f"{outside} of {colonies} annotated colonies of val lie outside the dishes that are found"
        return Region("photo", words)
    return Region(
        "dish",
        f"a dish is found on {found} of {photos} photos of val, and {colonies - outside} of {colonies} annotated "
        "colonies lie inside",
    )


def inside_circles(
    circles: Sequence[Circle | None], columns: CocoColumns, image_ids: np.ndarray, boxes_xywh: np.ndarray
) -> np.ndarray:
    """Which boxes, annotated or detected, lie inside the circle of their photo.

    Args:
        circles: One for each image of `columns`; None: its whole photo counts.
        columns: The images.
        image_ids: (D,) ids of the boxes' images, all among those of `columns`.
        boxes_xywh: (D, 4) in pixels of these images.

    Returns:
        (D,) bool by the centre of the box.
    """
    everywhere = (0.0, 0.0, np.inf)
    widths = columns.sizes_wh[:, 0].tolist()
    of_images = [
        everywhere if circle is None else circle.in_pixels(width) for circle, width in zip(circles, widths, strict=True)
    ]
    known, rows = np.unique(columns.image_ids, return_index=True)
    return inside(boxes_xywh, np.array(of_images).reshape(-1, 3)[rows[np.searchsorted(known, image_ids)]])
