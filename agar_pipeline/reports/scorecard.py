"""Writes the files of an evaluation from a checkpoint or from predictions, for the asset and for `agar evaluate`.

Here: calling prediction, scoring and writing. Not here: formulas (`scoring.score`), the page (`reports`).
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.artifacts.manifest import PICTURES
from agar_pipeline.errors import ConfigError
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

EVALUATION_FILES = ("metrics.json", "predictions.json", "matches.parquet", "report.html", PICTURES)

if TYPE_CHECKING:
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.coco.detections import Detections
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.counting.dish import Circle
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.scoring.score import Scored


@dataclass(frozen=True)
class PredictedPart:
    """The annotations of a COCO file, and the detections of a model on its images, with its category ids."""

    columns: CocoColumns
    detections: Detections
    names: dict[str, str]
    """Class of the model → its name in the file."""


def predict_part(
    predictor: Predictor,
    checkpoint: Path,
    coco_json: Path,
    images_dir: Path,
    num_workers: int | None,
    log: Log,
    counted_from: float | None = None,
) -> PredictedPart:
    """Predict the images of a COCO file; `counted_from` as in `Predictor.predict`.

    Raises:
        TrainingError: the model and the COCO file have no class name in common.
        DatasetError: the COCO file lists no image.
    """
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.scoring.class_agreement import agree_on_classes

    columns = read_coco(coco_json)
    columns.require_images(coco_json)
    agreement = agree_on_classes(checkpoint, predictor.class_names, predictor.category_ids, coco_json, columns)
    for note in agreement.notes:
        log(f"note: {note}")
    found = predictor.predict(columns, images_dir, num_workers, log, counted_from=counted_from)
    detections = agreement.renumber(found)
    return PredictedPart(agreement.columns, detections, agreement.renamed(predictor.class_names))


def evaluate_checkpoint(
    checkpoint: Path,
    coco_json: Path,
    images_dir: Path,
    out_dir: Path,
    log: Log,
    *,
    accelerator: str = "auto",
    num_workers: int | None = None,
    pictures: int = 12,
    calibration: Calibration | None = None,
    score_threshold: float | None = None,
) -> dict[str, Any]:
    """Predict a COCO file's images, write the files of an evaluation, and return the metrics.

    Counts follow the calibration, or the checkpoint's own threshold if there is none; nothing is chosen on these
    images.

    Raises:
        TrainingError: the model and the COCO file have no class name in common.
    """
    from agar_pipeline.detection.inference.predict import Predictor

    predictor = Predictor.load(checkpoint, accelerator)
    used = calibration or predictor.calibration
    if score_threshold is not None:
        used = used.with_threshold(score_threshold)
    part = predict_part(predictor, checkpoint, coco_json, images_dir, num_workers, log, used.rule.least_of_all)
    return write_evaluation(
        part.columns,
        part.detections,
        images_dir,
        out_dir,
        calibration=used.renamed(part.names),
        pictures=pictures,
        title=f"{checkpoint.name} on {coco_json.stem}",
        log=log,
    )


def evaluate_predictions(
    predictions: Path,
    coco_json: Path,
    images_dir: Path,
    out_dir: Path,
    log: Log,
    *,
    pictures: int = 12,
    calibration: Calibration | None = None,
    score_threshold: float | None = None,
) -> dict[str, Any]:
    """Score a file of predictions, write the files of an evaluation, and return the metrics.

    A file in COCO's results format uses the ids of the COCO file. A COCO file with scores, as `agar predict` writes it,
    is matched to the COCO file by the names of images and classes. Without a score threshold, one is chosen on these
    images, and the page says so.

    Raises:
        ConfigError: the threshold would be chosen on a test part.
        AnnotationError: the predictions do not belong to this COCO file.
        DatasetError: the COCO file lists no image.
    """
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.coco.detections import read_detections
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.scoring.count_rule import CountRule
    from agar_pipeline.scoring.prediction_file import is_predicted, read_predicted

    if score_threshold is None and calibration is None and "test" in re.split(r"[\W_]+", coco_json.stem.casefold()):
        raise ConfigError(
            "is a test part, and a score threshold chosen on it would make its counts look better than they are",
            where=coco_json,
            next_step="choose the threshold on val, and give it with --score-threshold",
        )
    columns = read_coco(coco_json)
    columns.require_images(coco_json)
    if is_predicted(predictions):
        predicted = read_predicted(predictions, coco_json, columns)
        columns, detections = predicted.columns, predicted.detections
        for note in predicted.notes:
            log(f"note: {note}")
    else:
        detections = read_detections(predictions, coco_json)
    used = calibration
    if score_threshold is not None:
        used = (calibration or Calibration(CountRule())).with_threshold(score_threshold)
    return write_evaluation(
        columns,
        detections,
        images_dir,
        out_dir,
        calibration=used,
        pictures=pictures,
        title=f"{predictions.name} on {coco_json.stem}",
        log=log,
        from_file=True,
    )


def write_evaluation(
    columns: CocoColumns,
    detections: Detections,
    images_dir: Path,
    out_dir: Path,
    *,
    calibration: Calibration | None,
    circles: Sequence[Circle | None] | None = None,
    pictures: int,
    title: str,
    log: Log,
    facts: dict[str, Any] | None = None,
    lesson: dict[str, Any] | None = None,
    from_file: bool = False,
    is_val: bool = False,
) -> dict[str, Any]:
    """Write the files of an evaluation for any detections; return the metrics.

    Args:
        columns: The ground truth.
        detections: Detections in its images.
        calibration: How detections become counts; if None, the threshold is chosen on these images.
        circles: The circle of each image outside which nothing counts; if None, they are found on the images.
        facts: Additional entries of metrics.json.
        lesson: How the model was trained, a plain `usefulness.Lesson`; None if that is unknown.
        is_val: The calibration was fitted to these images.
        from_file: The detections come from a user's file. If they fit badly, the log says whether its boxes may be in
            another convention.
    """
    from agar_pipeline.config import CountingConfig
    from agar_pipeline.counting.calibration import calibrate
    from agar_pipeline.counting.region import area_of, find_circles
    from agar_pipeline.scoring.average_precision import require_known_ids
    from agar_pipeline.scoring.misread_predictions import explain_misreading
    from agar_pipeline.scoring.score import score_detections
    from agar_pipeline.scoring.suppression import suppress_across_classes
    from agar_pipeline.scoring.usefulness import explain_uselessness

    require_known_ids(columns, detections)
    if calibration is None:
        calibration = calibrate(CountingConfig(), columns, suppress_across_classes(detections), "these images")
        is_val = True
    if circles is None:
        circles = find_circles(calibration.region, columns, images_dir, log)
    rule = calibration.rule.within(area_of(circles, columns)) if any(circles) else calibration.rule
    scored = score_detections(columns, detections, rule)
    without_circle = sum(circle is None for circle in circles)
    scored.metrics["counting"]["region"] = calibration.region.to_plain() | {"images_without_circle": without_circle}
    misread = explain_misreading(columns, detections, scored.metrics["map_50"]) if from_file else None
    useless = explain_uselessness(
        scored.metrics["map_50"], len(scored.counted), lesson, limit=None if from_file else detections.why_undefined
    )
    warning = misread or useless
    metrics = _with_calibration(scored, calibration, is_val) | {"warning": warning} | (facts or {})
    (out_dir / "predictions.json").write_text(json.dumps(detections.to_coco()))
    _write_scored(dataclasses.replace(scored, metrics=metrics), images_dir, out_dir, title, pictures)
    why = f"not computed: {metrics['reasons'].get('map_50')}"
    shown = why if metrics["map_50"] is None else f"{metrics['map_50']:.3f}"
    if warning:
        log(warning)
    found, images = plural(len(detections), "prediction"), plural(len(columns.image_ids), "image")
    log(f"map_50 {shown} · {found} on {images}")
    if left_out := detections.what_was_left_out:
        log(f"note: {left_out}")
    return metrics


def _write_scored(scored: Scored, images_dir: Path, out_dir: Path, title: str, pictures: int) -> None:
    """Write the metrics, the matches, the page, and the pictures that Dagster shows."""
    from agar_pipeline.reports.evaluation_page import write_evaluation_page
    from agar_pipeline.scoring.matching import matches_table

    (out_dir / "metrics.json").write_text(json.dumps(scored.metrics, indent=2, allow_nan=False))
    table = matches_table(scored.columns, scored.counted, scored.matches)
    table.to_parquet(out_dir / "matches.parquet", index=False)
    page = out_dir / "report.html"
    shown_in_ui = write_evaluation_page(page, scored, images_dir, title, pictures, scored.metrics["warning"])
    (out_dir / PICTURES).write_text(json.dumps(shown_in_ui))


def _with_calibration(scored: Scored, calibration: Calibration, is_val: bool) -> dict[str, Any]:
    """The metrics, with the intervals of the counts and the curve of the thresholds."""
    from agar_pipeline.counting.intervals import interval_metrics
    from agar_pipeline.scoring.counting import count_per_image

    metrics, rule, columns = scored.metrics, scored.rule, scored.columns
    counts = count_per_image(rule.annotated(columns), rule.colonies(scored.counted, columns.names))
    unknown = scored.counted.why_uncounted(rule.least_of_all)
    interval = None if unknown else interval_metrics(calibration.intervals, *counts, is_val=is_val)
    why = {} if interval else {"counting.interval": unknown or calibration.intervals.reason or "no plate"}
    of_val = calibration.thresholds
    curve = (
        {"curve": {"score": of_val.scores.tolist(), "mae": list(of_val.mae), "f1": list(of_val.f1)}} if of_val else {}
    )
    return metrics | {
        "counting": metrics["counting"] | {"interval": interval},
        "score_threshold": metrics["score_threshold"] | curve,
        "reasons": metrics["reasons"] | why,
    }
