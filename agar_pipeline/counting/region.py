"""Where colonies count: on the whole photo, inside the dish of each photo, or inside a circle that is always the same.

Here: the choice on val, and which boxes lie inside. Not here: finding a dish (`dish`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.counting.dish import Circle, find_dish
from agar_pipeline.counting.photo_features import measure_files, sample_rows
from agar_pipeline.progress import Log, progress_bar
from agar_pipeline.scoring.counted_area import WHOLE_IMAGE, CountedArea
from agar_pipeline.text.plurals import plural

LEAST_FOUND = 0.95
"""Share of val's photos on which a dish must be found for `auto` to choose it."""
MOST_OUTSIDE = 0.005
"""Largest share of val's annotated colonies outside the dishes for `auto` to choose them."""
MOST_TRIED = 200
"""Number of val's photos on which `auto` looks for dishes."""


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

    def notes(self, circle: Circle | None, outside: int) -> list[str]:
        """What a user has to know about a photo with this circle, and this number of colonies outside it."""
        if self.use == "dish" and circle is None:
            return ["no dish was found: the whole photo counts"]
        place = "dish" if self.use == "dish" else "circle of counting.region"
        does = plural(outside, "detection does", "detections do")
        return [f"outside the {place}: {does} not count"] if outside else []

    def to_plain(self) -> dict[str, Any]:
        circle = None if self.circle is None else self.circle.to_plain()
        return {"use": self.use, "reason": self.reason, "circle": circle}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Region:
        circle = None if plain["circle"] is None else Circle.from_plain(plain["circle"])
        return cls(plain["use"], plain["reason"], circle)


def fixed_region(rule: str | tuple[float, float, float]) -> Region | None:
    """The region that `counting.region` states; None for `auto`, which is chosen on val.

    >>> fixed_region((0.5, 0.4, 0.35)).circle
    Circle(x=0.5, y=0.4, radius=0.35)
    """
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
    is_inside = area_of(circles, columns).holds(columns.annotation_image_ids, columns.boxes_xywh)
    colonies, outside = len(is_inside), int(np.count_nonzero(~is_inside))
    if outside > MOST_OUTSIDE * colonies:
        words = f"{outside} of {colonies} annotated colonies of val lie outside the dishes that are found"
        return Region("photo", words)
    return Region(
        "dish",
        f"a dish is found on {found} of {photos} photos of val, and {colonies - outside} of {colonies} annotated "
        "colonies lie inside",
    )


def area_of(circles: Sequence[Circle | None], columns: CocoColumns) -> CountedArea:
    """The area in which boxes count; `circles`: one for each image of `columns`, None where all of it counts."""
    widths = columns.sizes_wh[:, 0].tolist()
    circles_px = [
        WHOLE_IMAGE if circle is None else circle.in_pixels(width)
        for circle, width in zip(circles, widths, strict=True)
    ]
    return CountedArea(columns.image_ids, np.array(circles_px, np.float64).reshape(-1, 3))


def find_circles(region: Region, columns: CocoColumns, images_dir: Path, log: Log | None = None) -> list[Circle | None]:
    """The circle of each photo of `columns` outside which nothing counts; None: all of it counts."""
    if region.use != "dish":
        return [region.circle] * len(columns.image_ids)
    with progress_bar("finding the dishes", log) as progress:
        return measure_files(find_dish, images_dir, [str(name) for name in columns.file_names], progress)


def find_region(
    rule: str | tuple[float, float, float],
    columns: CocoColumns,
    images_dir: Path,
    log: Log | None = None,
) -> tuple[Region, list[Circle | None]]:
    """The region by `counting.region`, and the circle of each photo of val.

    For `auto`, dishes are first looked for on `MOST_TRIED` photos.

    Args:
        rule: The value of `counting.region`.
        columns: The annotations of val, of the classes that count.
        images_dir: Folder that `file_name` is relative to.
    """
    region = fixed_region(rule)
    if region is None:
        tried = columns.take_images(sample_rows(len(columns.image_ids), MOST_TRIED))
        circles = find_circles(Region("dish"), tried, images_dir, log)
        region = choose_region(circles, tried)
        if region.use == "dish" and len(circles) == len(columns.image_ids):
            return region, circles
    return region, find_circles(region, columns, images_dir, log)
