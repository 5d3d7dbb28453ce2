"""Scored boxes as columns (arrays), and COCO's results format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.results_parse import parse_results
from agar_pipeline.text.plurals import plural


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
    cut: frozenset[int] = frozenset()
    """Ids of images for which the model reached its limit of detections; some of their detections may be missing."""

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> Detections:
        return Detections(
            self.image_ids[rows], self.category_ids[rows], self.boxes_xywh[rows], self.scores[rows], self.cut
        )

    @property
    def why_undefined(self) -> str | None:
        """Why no figures may be computed from these detections; None if they may."""
        if not self.cut:
            return None
        return (
            f"on {plural(len(self.cut), 'image')} the model reaches its limit of detections, first on image "
            f"{min(self.cut)}: it has not learned yet what is not a colony"
        )

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO results: image_id, category_id, bbox (xywh, to 1/1000 px), score; by image, highest score first."""
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
    def concatenate(cls, pieces: Sequence[Detections]) -> Detections:
        if not pieces:
            empty = np.zeros(0, np.int64)
            return cls(empty, empty, np.zeros((0, 4)), np.zeros(0))
        return cls(
            np.concatenate([p.image_ids for p in pieces]),
            np.concatenate([p.category_ids for p in pieces]),
            np.concatenate([p.boxes_xywh for p in pieces]),
            np.concatenate([p.scores for p in pieces]),
            frozenset().union(*(p.cut for p in pieces)),
        )


def read_detections(path: Path, coco_json: Path | None = None) -> Detections:
    """Read a file in COCO's results format; `coco_json` is the file of annotations, needed for ids that are texts.

    Raises:
        AnnotationError: it is missing or does not have this format; the message says where.
    """
    return Detections(**parse_results(path, coco_json))
