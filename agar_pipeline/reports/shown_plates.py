"""Groups matches by image, and chooses the images that the evaluation page shows.

Here: kinds grouped by image, ranking. Not here: matching (`scoring.matching`), metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agar_pipeline.scoring.counting import count_per_image
from agar_pipeline.scoring.matching import ANNOTATION_KINDS, DETECTION_KINDS, rows_by_image
from agar_pipeline.scoring.score import Scored


@dataclass(frozen=True)
class ScoredPlate:
    """One image (plate) with its annotated boxes, its kept detections, and its counts."""

    image_id: int
    file_name: str
    annotated: int
    """Annotated colonies of the classes that count; without crowd regions."""
    predicted: int
    """Detections of the classes that count."""
    annotations_xywh: Mapping[str, np.ndarray]
    """Kind → (N_kind, 4), pixels."""
    detections_xywh: Mapping[str, np.ndarray]
    """Kind → (M_kind, 4), pixels."""
    circle_px: tuple[float, float, float] | None = None
    """x, y and radius of the circle outside which nothing counts, pixels."""

    @property
    def error(self) -> int:
        """Predicted minus annotated."""
        return self.predicted - self.annotated

    @property
    def matched_share(self) -> float:
        """Share of right boxes among all boxes, annotated and predicted; 1 if there are none."""
        boxes = sum(len(of) for table in (self.annotations_xywh, self.detections_xywh) for of in table.values())
        return 2 * len(self.detections_xywh["true_positive"]) / boxes if boxes else 1.0


def group_by_plate(scored: Scored) -> list[ScoredPlate]:
    """Return one plate per image, in the order of the COCO file; crowd regions are not colonies."""
    columns, counted, matches, rule = scored.columns, scored.counted, scored.matches, scored.rule
    predicted_counts, true_counts = count_per_image(rule.annotated(columns), rule.colonies(counted, columns.names))
    circles = None if rule.area is None else rule.area.circles_px.tolist()
    plates = []
    for index, rows in enumerate(rows_by_image(columns, counted)):
        annotation_kinds, detection_kinds = (
            matches.annotation_kinds[rows.annotations],
            matches.detection_kinds[rows.detections],
        )
        truth, predicted = columns.boxes_xywh[rows.annotations], counted.boxes_xywh[rows.detections]
        plates.append(
            ScoredPlate(
                int(columns.image_ids[index]),
                str(columns.file_names[index]),
                int(true_counts[index]),
                int(predicted_counts[index]),
                {kind: truth[annotation_kinds == kind] for kind in ANNOTATION_KINDS},
                {kind: predicted[detection_kinds == kind] for kind in (*DETECTION_KINDS, "ignored")},
                None if circles is None or np.isinf(circles[index][2]) else tuple(circles[index]),
            )
        )
    return plates


def choose_plates(plates: Sequence[ScoredPlate], most: int) -> tuple[list[ScoredPlate], list[ScoredPlate]]:
    """Choose the worst images (by count error, then by matched share), and some around the middle of that ranking."""
    ranked = sorted(plates, key=lambda plate: (-abs(plate.error), plate.matched_share, plate.image_id))
    worst_count = min(len(ranked), -(-2 * most // 3))
    rest = ranked[worst_count:]
    median_count = min(len(rest), most - worst_count)
    first = max(0, min(len(ranked) // 2 - worst_count - median_count // 2, len(rest) - median_count))
    return ranked[:worst_count], rest[first : first + median_count]
