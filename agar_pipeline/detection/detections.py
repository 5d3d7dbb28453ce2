"""Scored boxes as whole columns, and COCO's results format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from agar_pipeline.errors import AnnotationError


@dataclass(frozen=True)
class Detections:
    """D scored boxes of any number of images."""

    image_ids: np.ndarray
    """(D,) int64."""
    category_ids: np.ndarray
    """(D,) int64."""
    boxes_xywh: np.ndarray
    """(D, 4) float64, pixels of the photo, clipped to it."""
    scores: np.ndarray
    """(D,) float64 in [0, 1]."""

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> Detections:
        return Detections(self.image_ids[rows], self.category_ids[rows], self.boxes_xywh[rows], self.scores[rows])

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO results: image_id, category_id, bbox (xywh, to 1/1000 px), score; boxes image by image, best first."""
        order = np.lexsort((-self.scores, self.image_ids))
        columns = (
            self.image_ids[order].tolist(),
            self.category_ids[order].tolist(),
            self.boxes_xywh[order].round(3).tolist(),
            self.scores[order].round(6).tolist(),
        )
        return [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for image, category, box, score in zip(*columns, strict=True)
        ]

    @classmethod
    def from_coco(cls, results: list[dict[str, Any]]) -> Detections:
        """Raises KeyError, TypeError or ValueError where a result lacks a key or has another type."""
        boxes = np.array([r["bbox"] for r in results], dtype=np.float64).reshape(len(results), 4)
        scores = np.array([r["score"] for r in results], dtype=np.float64)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError("a bbox or score is not finite")
        image_ids = np.array([r["image_id"] for r in results], dtype=np.int64)
        return cls(image_ids, np.array([r["category_id"] for r in results], dtype=np.int64), boxes, scores)

    @classmethod
    def concatenate(cls, pieces: Sequence[Detections]) -> Detections:
        if not pieces:
            empty = np.zeros(0, np.int64)
            return cls(empty, empty, np.zeros((0, 4)), np.zeros(0))
        return cls(
            np.concatenate([p.image_ids for p in pieces]),
            np.concatenate([p.category_ids for p in pieces]),
            np.concatenate([p.boxes_xywh for p in pieces]),
            np.concatenate([p.scores for p in pieces]),
        )


def read_detections(path: Path) -> Detections:
    """Read a file in COCO's results format.

    Raises:
        AnnotationError: it is missing, not JSON, or not a list of results.
    """
    try:
        return Detections.from_coco(orjson.loads(Path(path).read_bytes()))
    except FileNotFoundError:
        raise AnnotationError(f"{path} does not exist: give a predictions file") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise AnnotationError(
            f"{path} is not in COCO results format, a list of image_id, category_id, bbox and score: {what}"
        ) from error
