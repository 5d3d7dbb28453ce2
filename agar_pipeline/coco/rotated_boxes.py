"""Boxes that are turned: CVAT's COCO and VOC files state the box before the turn, and the angle as an attribute.

What is made of them is upright, so that the angle is kept under another name: nobody turns them a second time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DRAWN = "drawn_rotation"
"""The attribute that keeps the angle of a box that was made upright."""
_STATED = "rotation"


def degrees_of(attributes: Any) -> float:
    """The angle among the attributes of a box, in degrees; 0 where it is upright, or nothing is said of it."""
    angle = attributes.get(_STATED) if isinstance(attributes, Mapping) else None
    if isinstance(angle, bool) or not isinstance(angle, int | float) or not abs(angle) < math.inf:
        return 0.0
    return angle % 360


def turn_of(annotation: Mapping[str, Any]) -> float:
    """The angle of a COCO annotation: among its attributes, or beside its box, where FiftyOne exports attributes to.

    0 where it has an outline, around which its box lies already.
    """
    if annotation.get("segmentation"):
        return 0.0
    return degrees_of(annotation.get("attributes")) or degrees_of(annotation)


def without_turn(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a box that was made upright."""
    return {DRAWN if name == _STATED else name: value for name, value in attributes.items()}


def upright_box(box_xywh: Sequence[float], degrees: float) -> list[float]:
    """The box around one that is turned about its centre."""
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    x, y, width, height = box_xywh
    across, down = width * cosine + height * sine, width * sine + height * cosine
    return [x + (width - across) / 2, y + (height - down) / 2, across, down]
