"""Converts boxes from other conventions than COCO's x, y, width, height in pixels, and finds the one that fits.

Here: the conventions that tools write, each tried on the boxes. Not here: when boxes are suspicious (`misread_boxes`),
and whether predictions meet the ground truth (`misread_predictions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_FITS = 0.95
"""Share of the boxes that must lie inside their image for a reading to be reported."""
_BETTER_BY = 0.05
_LARGEST_AREA = 0.9
"""Share of the image; if the median box is at least as large, the reading is not one of colonies."""
_UNITS = (("shares of the picture", 1.0), ("percent of the picture", 100.0), ("thousandths of the picture", 1000.0))
_AS_UNIT = 0.03
"""If the sides of the images differ from the unit by less than this share, the unit is not tried: in an image of 1,000
px, thousandths are pixels.
"""
_FILLED = 0.7
"""In the right reading, the boxes of all images together reach over more than this share of width and height."""
_OTHER_SCALE = 1.05
_SAME_IN_BOTH = 1.25


@dataclass(frozen=True)
class BoxReading:
    """One convention, and M boxes converted from it."""

    words: str
    boxes_xywh: np.ndarray
    """(M, 4) pixels of the photo."""


def read_in_units(boxes: np.ndarray, sizes_wh: np.ndarray) -> Iterator[BoxReading]:
    """Read the boxes as shares, percents or thousandths of their image, if the numbers are in the range of that unit.

    Args:
        boxes: (M, 4) finite numbers as written, interpreted as x, y, width and height.
        sizes_wh: (M, 2) width and height of each box's image, pixels.
    """
    sizes = np.asarray(sizes_wh, dtype=np.float64)
    largest = float(np.abs(boxes).max(initial=0.0))
    for unit, full in _UNITS:
        shares_or_more = full == 1.0 or largest > full / 20  # tiny numbers are shares, not percents
        is_unit = np.abs(np.median(sizes, axis=0) / full - 1).max(initial=0.0) < _AS_UNIT
        if largest <= full * 1.05 and shares_or_more and not is_unit:
            scaled = boxes * np.tile(sizes / full, 2)
            yield BoxReading(f"{unit}: x, y, width, height", scaled)
            y_first = boxes * np.tile(sizes[:, ::-1] / full, 2)
            x_first = boxes * np.repeat(sizes / full, 2, axis=1)
            for form in (*_straight_forms(scaled), *_swapped_forms(y_first), *_ranges(x_first)):
                yield BoxReading(f"{unit}: {form.words}", form.boxes_xywh)


def read_in_forms(boxes: np.ndarray, sizes_wh: np.ndarray) -> Iterator[BoxReading]:
    """Read the boxes as four pixel numbers with another meaning; arguments as for `read_in_units`."""
    yield from _straight_forms(boxes)
    yield from _misplaced_forms(boxes)
    yield from _other_origins(boxes, np.asarray(sizes_wh, dtype=np.float64))
    yield from _swapped_forms(boxes)
    yield from _ranges(boxes)


def _straight_forms(boxes: np.ndarray) -> Iterator[BoxReading]:
    a, b, c, d = boxes.T
    yield from _named(
        {
            "corners (xmin, ymin, xmax, ymax)": (a, b, c - a, d - b),
            "the centre, then width and height": (a - c / 2, b - d / 2, c, d),
        }
    )


def _misplaced_forms(boxes: np.ndarray) -> Iterator[BoxReading]:
    """Forms that come from a tool that interpreted the numbers wrongly."""
    a, b, c, d = boxes.T
    yield from _named(
        {
            "the top-left corner, which was taken for the centre": (a + c / 2, b + d / 2, c, d),
            "corners, which were taken for the centre, width and height": (a + c / 2, b + d / 2, c / 2 - a, d / 2 - b),
            "width and height, which were taken for the right and lower edge": (a, b, a + c, b + d),
        }
    )


def _other_origins(boxes: np.ndarray, sizes_wh: np.ndarray) -> Iterator[BoxReading]:
    a, b, c, d = boxes.T
    width, height = sizes_wh.T
    yield from _named(
        {
            "pixels, which were taken for shares": (a / width, b / height, c / width, d / height),
            "another origin: y counted upwards, to the box's upper edge": (a, height - b, c, d),
            "another origin: y counted upwards, to the box's lower edge": (a, height - b - d, c, d),
            "another origin: corners with y counted upwards": (a, height - d, c - a, d - b),
            "another origin: x and y counted from the picture's centre": (a + width / 2, b + height / 2, c, d),
            "another origin: from the picture's centre, y upwards": (a + width / 2, height / 2 - b, c, d),
        }
    )


def _swapped_forms(boxes: np.ndarray) -> Iterator[BoxReading]:
    a, b, c, d = boxes.T
    yield from _named(
        {
            "swapped axes (y, x, height, width)": (b, a, d, c),
            "corners with swapped axes (ymin, xmin, ymax, xmax)": (b, a, d - b, c - a),
        }
    )


def _ranges(boxes: np.ndarray) -> Iterator[BoxReading]:
    a, b, c, d = boxes.T
    yield from _named({"xmin, xmax, ymin, ymax": (a, c, b - a, d - c)})


def _named(forms: dict[str, tuple[np.ndarray, ...]]) -> Iterator[BoxReading]:
    for words, sides in forms.items():
        yield BoxReading(words, np.stack(sides, axis=1))


def read_at_scale(boxes: np.ndarray, factor: float) -> BoxReading:
    """Read the boxes as drawn on an image that is larger by this factor."""
    return BoxReading(f"pixels of a picture {factor:.3g} times as large as the photo", boxes / factor)


def farthest_reach(boxes_xywh: np.ndarray, sizes_wh: np.ndarray) -> tuple[float, float]:
    """The farthest right and lower edges of all boxes, as shares of width and height."""
    reach_x, reach_y = ((boxes_xywh[:, :2] + boxes_xywh[:, 2:]) / sizes_wh).max(axis=0, initial=0.0).tolist()
    return reach_x, reach_y


def find_fitting(boxes: np.ndarray, sizes_wh: np.ndarray, shortest_px: float) -> tuple[str, int] | None:
    """Find the reading in which nearly all boxes lie inside their images.

    Arguments as for `read_in_units`; a box with a side below `shortest_px` does not count as fitting.

    Returns:
        The words for the reading, and the number of boxes inside; None if no reading fits, or none fits clearly better
        than the boxes as written.
    """
    if not len(boxes):
        return None
    as_written = lie_inside(boxes, sizes_wh, shortest_px).mean()
    needed = min(max(_FITS, as_written + _BETTER_BY), 1.0) * len(boxes)
    in_forms, in_units = list(read_in_forms(boxes, sizes_wh)), list(read_in_units(boxes, sizes_wh))
    forms_first = (_filling(in_forms, sizes_wh), _filling(in_units, sizes_wh), _at_reach(boxes, sizes_wh))
    for readings in (*forms_first, in_units, in_forms):
        if (best := _best(readings, sizes_wh, shortest_px)) is not None and best[1] >= needed:
            return best
    return None


def find_larger(boxes: np.ndarray, sizes_wh: np.ndarray, shortest_px: float) -> str | None:
    """Find the reading in which boxes that all lie near the origin would fill their images.

    Returns:
        The words for the reading; None if there is none, or only a scale that differs between the axes, as for a
        scanner that sees a plate in its corner.
    """
    best = _best(_filling(read_in_units(boxes, sizes_wh), sizes_wh), sizes_wh, shortest_px)
    if best is not None and best[1] >= _FITS * len(boxes):
        return best[0]
    low, high = sorted(farthest_reach(boxes, sizes_wh))
    return read_at_scale(boxes, high).words if low > 0 and high / low < _SAME_IN_BOTH else None


def lie_inside(boxes_xywh: np.ndarray, sizes_wh: np.ndarray, shortest_px: float) -> np.ndarray:
    """(M,) bool: sides of `shortest_px` or more, and at most 2 px or 1 % of the image's sides outside the image."""
    slack = np.maximum(2.0, 0.01 * sizes_wh)
    low, far = boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    fits = (low >= -slack).all(axis=1) & (far <= sizes_wh + slack).all(axis=1)
    return fits & (boxes_xywh[:, 2:] >= shortest_px).all(axis=1)


def _filling(readings: Iterable[BoxReading], sizes_wh: np.ndarray) -> list[BoxReading]:
    """Readings whose boxes reach over most of the images, as colonies do."""
    return [each for each in readings if min(farthest_reach(each.boxes_xywh, sizes_wh)) > _FILLED]


def _at_reach(boxes: np.ndarray, sizes_wh: np.ndarray) -> Iterator[BoxReading]:
    """The boxes scaled so that they just fit, if they leave their images by about the same factor along both axes."""
    low, high = sorted(farthest_reach(boxes, sizes_wh))
    if (boxes >= -1).all() and low > _OTHER_SCALE and high / low < _SAME_IN_BOTH:
        yield read_at_scale(boxes, high)


def _best(readings: Iterable[BoxReading], sizes_wh: np.ndarray, shortest_px: float) -> tuple[str, int] | None:
    """Words and number of boxes inside, for the reading with most boxes inside; of equal ones, that with the smallest
    boxes.
    """
    counted = []
    for reading in readings:
        area = float(np.median(reading.boxes_xywh[:, 2:].prod(axis=1) / sizes_wh.prod(axis=1)))
        inside = int(lie_inside(reading.boxes_xywh, sizes_wh, shortest_px).sum())
        if area < _LARGEST_AREA:
            counted.append((inside, -round(area, 4), reading.words))
    best = max(counted, key=lambda each: each[:2], default=None)
    return None if best is None else (best[2], best[0])
