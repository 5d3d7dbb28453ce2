"""evaluation: scores the best checkpoint of a training on one part of the COCO cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import CocoCache, TrainingRun
from agar_pipeline.config import EvaluationConfig
from agar_pipeline.errors import ArtifactError
from agar_pipeline.reports.scorecard import evaluate_checkpoint
from agar_pipeline.step_code.precision_and_weights import record_machine


def build(
    config: EvaluationConfig,
    out_dir: Path,
    log: Callable[[str], None],
    coco_cache: CocoCache,
    training_run: TrainingRun,
) -> None:
    """Write `metrics.json`, `predictions.json` and `report.html` for the best checkpoint.

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
    predictor = evaluate_checkpoint(
        training_run.best_checkpoint,
        coco_cache.json_path(config.part),
        coco_cache.images_dir,
        out_dir,
        log,
        accelerator=config.accelerator,
        num_workers=config.num_workers,
        pictures=config.pictures,
        title=title,
        facts={"part": config.part, "training": _recipe(training_run)},
        lesson=training_run.experiment().get("lesson"),
    )
    record_machine(out_dir, predictor.accelerator, predictor.precision)


def _recipe(training_run: TrainingRun) -> dict[str, Any]:
    """Return the seed, and a hash of the rest of the config: trainings of one recipe differ only in their seed."""
    config = dict(training_run.experiment()["config"])
    seed = config.pop("seed")
    return {"seed": seed, "recipe": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]}
