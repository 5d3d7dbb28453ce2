"""The part of each image in which annotations and detections count: a circle, or the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections

WHOLE_IMAGE = (0.0, 0.0, float("inf"))


def inside(boxes_xywh: np.ndarray, circles_px: Any) -> np.ndarray:
    """(N,) bool: the centre of the box lies inside the circle.

    Args:
        boxes_xywh: (N, 4) pixels.
        circles_px: x, y, radius in the same pixels: (3,) for all boxes, or (N, 3).

    >>> inside(np.array([[0, 0, 2, 2], [5, 5, 2, 2]]), (1, 1, 3)).tolist()
    [True, False]
    """
    x, y, radius = np.asarray(circles_px, np.float64).T
    centres = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    return np.hypot(centres[:, 0] - x, centres[:, 1] - y) <= radius


@dataclass(frozen=True)
class CountedArea:
    """One circle for each of N images."""

    image_ids: np.ndarray
    """(N,)."""
    circles_px: np.ndarray
    """(N, 3) x, y and radius, pixels of the image; `WHOLE_IMAGE` where everything counts."""

    def holds(self, image_ids: np.ndarray, boxes_xywh: np.ndarray) -> np.ndarray:
        """(D,) bool: whether the centre of each box lies in the area of its image."""
        known, rows = np.unique(self.image_ids, return_index=True)
        return inside(boxes_xywh, self.circles_px[rows[np.searchsorted(known, image_ids)]])

    def annotations(self, columns: CocoColumns) -> CocoColumns:
        """The columns with the annotations that lie in the area."""
        return columns.take_annotations(self.holds(columns.annotation_image_ids, columns.boxes_xywh))

    def detections(self, detections: Detections) -> Detections:
        """The detections that lie in the area."""
        return detections.take(np.flatnonzero(self.holds(detections.image_ids, detections.boxes_xywh)))
