"""Scores detections of a benchmark's model, with the score threshold chosen on the same images."""

from __future__ import annotations

from typing import Any

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections


def score_on_itself(columns: CocoColumns, detections: Detections) -> dict[str, Any]:
    """The metrics of detections whose score threshold is chosen on the same images."""
    from agar_pipeline.config import CountingConfig
    from agar_pipeline.counting.calibration import calibrate
    from agar_pipeline.scoring.score import score_detections
    from agar_pipeline.scoring.suppression import suppress_across_classes

    calibration = calibrate(CountingConfig(), columns, suppress_across_classes(detections), "these images")
    return score_detections(columns, detections, calibration.rule).metrics
