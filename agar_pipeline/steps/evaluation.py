"""evaluation: scores the best checkpoint of a training on one part of the COCO cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.artifacts import CocoCache, TrainingRun
from agar_pipeline.coco.columns import read_coco
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import ScoringConfig
from agar_pipeline.counting.calibration import CALIBRATION_FILE, calibrate
from agar_pipeline.counting.photo_study import study_photos
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.errors import ArtifactError
from agar_pipeline.progress import Log
from agar_pipeline.reports.scorecard import PredictedPart, predict_part, write_evaluation
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.suppression import suppress_across_classes
from agar_pipeline.step_code.machine import record_machine


def build(
    config: ScoringConfig,
    out_dir: Path,
    log: Log,
    coco_cache: CocoCache,
    training_run: TrainingRun,
) -> None:
    """Write `metrics.json`, `predictions.json`, `counting.json` and `report.html` for the best checkpoint.

    Counts are calibrated on val, whichever part is scored.

    Raises:
        ArtifactError: the COCO cache has no such part.
        PipelineError: an image or the checkpoint is refused.
    """
    if config.part not in coco_cache.parts():
        raise ArtifactError(
            f"is not a part of {coco_cache.root}, which has: {', '.join(coco_cache.parts())}",
            where="evaluation.part",
            value=config.part,
            next_step="choose one of its parts, or add a share for this part to split.fractions in the pipeline file",
        )
    title = f"{training_run.root.parent.parent.name} on {config.part}"
    predictor = Predictor.load(training_run.best_checkpoint, config.accelerator)

    def predict(part: str, counted_from: float | None) -> PredictedPart:
        place = coco_cache.json_path(part), coco_cache.images_dir
        return predict_part(predictor, training_run.best_checkpoint, *place, config.num_workers, log, counted_from)

    scored, fixed = None, config.counting.fixed_threshold
    if config.part == "val" or ("val" in coco_cache.parts() and len(read_coco(coco_cache.json_path("val")).image_ids)):
        val = predict("val", fixed)
    else:
        scored = predict(config.part, CountRule().threshold if fixed is None else fixed)
        no_photo = scored.columns.take_images(np.zeros(0, np.int64))
        val = PredictedPart(no_photo, Detections.concatenate([]), scored.names)
    train = read_coco(coco_cache.json_path("train")) if "train" in coco_cache.parts() else None
    study = study_photos(config.counting, val.columns, train, coco_cache.images_dir, log)
    calibration = calibrate(config.counting, val.columns, suppress_across_classes(val.detections), study=study)
    calibration.write(out_dir / CALIBRATION_FILE)
    if scored is None:
        scored = val if config.part == "val" else predict(config.part, calibration.rule.least_of_all)
    write_evaluation(
        scored.columns,
        scored.detections,
        coco_cache.images_dir,
        out_dir,
        calibration=calibration,
        circles=study.circles if config.part == "val" else None,
        pictures=config.pictures,
        title=title,
        log=log,
        facts={"part": config.part, "training": _recipe(training_run)},
        is_val=config.part == "val",
        lesson=training_run.experiment().get("lesson"),
    )
    record_machine(out_dir, predictor.accelerator, predictor.precision)


def _recipe(training_run: TrainingRun) -> dict[str, Any]:
    """Return the seed, and a hash of the rest of the config: trainings of one recipe differ only in their seed."""
    config = dict(training_run.experiment()["config"])
    seed = config.pop("seed")
    return {"seed": seed, "recipe": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]}
