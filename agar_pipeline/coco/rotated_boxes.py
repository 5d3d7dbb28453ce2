"""Converts rotated boxes to upright ones: CVAT's COCO and VOC files state the unrotated box and an angle attribute.

The angle of a converted box is kept under another name, so that no reader rotates the box again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DRAWN = "drawn_rotation"
"""Attribute that keeps the angle of a box that was converted to an upright one."""
_STATED = "rotation"


def degrees_of(attributes: Any) -> float:
    """The angle in the attributes of a box, degrees; 0 if it is upright or has no such attribute.

    >>> degrees_of({"rotation": 375.0}), degrees_of({"occluded": True})
    (15.0, 0.0)
    """
    angle = attributes.get(_STATED) if isinstance(attributes, Mapping) else None
    if isinstance(angle, bool) or not isinstance(angle, int | float) or not abs(angle) < math.inf:
        return 0.0
    return angle % 360


def turn_of(annotation: Mapping[str, Any]) -> float:
    """The angle of a COCO annotation, degrees: in its attributes, or beside its box, where FiftyOne exports attributes.

    It is 0 if the annotation has an outline, because its box already encloses the outline.
    """
    if annotation.get("segmentation"):
        return 0.0
    return degrees_of(annotation.get("attributes")) or degrees_of(annotation)


def without_turn(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a box after it was converted to an upright one."""
    return {DRAWN if name == _STATED else name: value for name, value in attributes.items()}


def upright_box(box_xywh: Sequence[float], degrees: float) -> list[float]:
    """The upright box around a box that is rotated about its centre.

    >>> [round(side, 6) for side in upright_box([10, 10, 40, 20], 90)]
    [20.0, 0.0, 20.0, 40.0]
    """
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    x, y, width, height = box_xywh
    across, down = width * cosine + height * sine, width * sine + height * cosine
    return [x + (width - across) / 2, y + (height - down) / 2, across, down]
