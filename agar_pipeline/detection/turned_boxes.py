"""Boxes that are turned: CVAT's COCO and VOC files state the box before the turn, and the angle as an attribute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def degrees_of(attributes: Any) -> float:
    """The angle among the attributes of a box, in degrees; 0 where it is upright, or nothing is said of it."""
    angle = attributes.get("rotation") if isinstance(attributes, Mapping) else None
    if isinstance(angle, bool) or not isinstance(angle, int | float) or not abs(angle) < math.inf:
        return 0.0
    return angle % 360


def upright_box(box_xywh: Sequence[float], degrees: float) -> list[float]:
    """The box around one that is turned about its centre."""
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    x, y, width, height = box_xywh
    across, down = width * cosine + height * sine, width * sine + height * cosine
    return [x + (width - across) / 2, y + (height - down) / 2, across, down]
