"""Scored boxes as columns (arrays), and COCO's results format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.results_parse import parse_results

HIGHEST_FLOOR = 0.1
"""Figures are computed if all detections above this score are known.

Detections of a lower score change them little: a tiny detector after 354 steps on whole plates had a mAP@50 of 0.216
with all detections from 0.05 on, and 0.214 with those from 0.10 on.
"""


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
    complete_from: float = 0.0
    """No detection with a higher score is missing on any image; 0: no detection at all is missing.

    It is above 0 where a model reached its limit of detections.
    """

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> Detections:
        return Detections(
            self.image_ids[rows], self.category_ids[rows], self.boxes_xywh[rows], self.scores[rows], self.complete_from
        )

    @property
    def why_undefined(self) -> str | None:
        """Why no figures may be computed from these detections; None if they may."""
        if self.complete_from <= HIGHEST_FLOOR:
            return None
        return (
            "the model reaches its limit of detections on a photo, where detections with scores up to "
            f"{self.complete_from:.2f} may be missing: it has not learned yet to distinguish colonies from the agar"
        )

    def why_uncounted(self, threshold: float) -> str | None:
        """Why detections with a score from this threshold on may not be counted; None if they may."""
        if self.why_undefined or threshold > self.complete_from or not self.complete_from:
            return self.why_undefined
        return (
            f"detections with scores up to {self.complete_from:.3f} may be missing, because the model reaches its "
            f"limit of detections on a photo, and colonies count from a score of {threshold:g} on"
        )

    @property
    def what_was_left_out(self) -> str | None:
        """Which detections are left out of all figures; None: none is, or no figure can be computed."""
        if not self.complete_from or self.why_undefined:
            return None
        return (
            f"detections with scores up to {self.complete_from:.3f} are left out on all photos, because on a photo the "
            "model finds more boxes than its limit"
        )

    def without_incomplete(self) -> Detections:
        """The detections with scores above `complete_from`, so that all images are treated alike.

        Where too few would remain for any figure (`why_undefined`), all are returned.

        >>> ids, boxes = np.array([7, 7]), np.zeros((2, 4))
        >>> Detections(ids, ids, boxes, np.array([0.9, 0.06]), complete_from=0.08).without_incomplete().scores.tolist()
        [0.9]
        """
        if not self.complete_from or self.why_undefined:
            return self
        return self.take(np.flatnonzero(self.scores > self.complete_from))

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO results: image_id, category_id, bbox (xywh, to 1/1000 px), score; by image, highest score first.

        >>> one = np.array([7])
        >>> Detections(one, np.array([2]), np.array([[10.0, 20, 30, 40]]), np.array([0.9])).to_coco()
        [{'image_id': 7, 'category_id': 2, 'bbox': [10.0, 20.0, 30.0, 40.0], 'score': 0.9}]
        """
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
            max(p.complete_from for p in pieces),
        ).without_incomplete()


def read_detections(path: Path, coco_json: Path | None = None) -> Detections:
    """Read a file in COCO's results format; `coco_json` is the file of annotations, needed for ids that are texts.

    Raises:
        AnnotationError: it is missing or does not have this format; the message says where.
    """
    return Detections(**parse_results(path, coco_json))
