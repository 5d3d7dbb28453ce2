"""training_run: trains on the COCO cache; writes checkpoints, the log of the metrics, and the settings used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import PICTURES, CocoCache, SmokeRun, TrainingRun
from agar_pipeline.config import TrainingConfig, fingerprinted, to_plain
from agar_pipeline.errors import TrainingError
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.step_code.machine import record_machine


def build(
    config: TrainingConfig,
    out_dir: Path,
    log: Log,
    coco_cache: CocoCache,
    smoke_run: SmokeRun,
    work_dir: Path | None = None,
) -> None:
    """Write `checkpoints/best.ckpt`, `checkpoints/last.ckpt`, `metrics.csv`, `experiment.json` and a plot of the log.

    Under torchrun every rank calls this function, and only rank 0 writes. The state for resuming after an interruption
    is saved in `work_dir`, if one is given.

    Raises:
        TrainingError: the smoke run did not pass, or training cannot go on.
    """
    if not smoke_run.smoke()["ok"]:
        raise TrainingError(
            "did not pass, and a training needs one that passed",
            where=f"the smoke run in {smoke_run.root}",
            next_step="report this bug, with the file smoke.json of that folder: a smoke run that fails is not kept",
        )
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.detection.fitting.data_choice import typical_side
    from agar_pipeline.detection.fitting.model_fitting import fit_config
    from agar_pipeline.detection.training.resume import ResumePoints
    from agar_pipeline.detection.training.train import train
    from agar_pipeline.reports.training_plots import draw_curves
    from agar_pipeline.scoring.usefulness import Lesson

    points = None if work_dir is None else ResumePoints(work_dir, identify(config, coco_cache))
    train_columns, val_columns = read_coco(coco_cache.json_path("train")), read_coco(coco_cache.json_path("val"))
    settled = fit_config(config, train_columns)
    outcome = train(settled, train_columns, val_columns, coco_cache.images_dir, out_dir, log, points=points)
    if not World.from_environment().is_first:
        return
    reason = {"reason": outcome.unscored} if outcome.best.metrics["map_50_95"] is None else {}
    experiment = {
        "config": fingerprinted(config),
        "class_names": list(outcome.best.class_names),
        "category_ids": list(outcome.best.category_ids),
        "model": outcome.spec.to_plain(),
        "data": {"chosen": to_plain(settled.data), "words": outcome.best.data_words},
        "lesson": Lesson(
            typical_side(settled.data, train_columns), outcome.last.step, len(train_columns.image_ids)
        ).to_plain(),
        "num_images": {"train": len(train_columns.image_ids), "val": len(val_columns.image_ids)},
        "best": {"epoch": outcome.best.epoch, "step": outcome.best.step, "val": outcome.best.metrics, **reason},
        "last": {"epoch": outcome.last.epoch, "step": outcome.last.step, "val": outcome.last.metrics},
        "score_threshold": {"value": outcome.best.score_threshold, "chosen_on": "val"},
        "accelerator": outcome.accelerator,
        "precision": outcome.precision,
        "deterministic": config.trainer.deterministic,
        "world_size": outcome.world.size,
        "seconds": {"train": round(outcome.train_seconds, 1), "validation": round(outcome.validation_seconds, 1)},
    }
    (out_dir / "experiment.json").write_text(json.dumps(experiment, indent=2))
    record_machine(out_dir, outcome.accelerator, outcome.precision, config.model)
    (out_dir / PICTURES).write_text(json.dumps({"Loss and mAP": draw_curves(out_dir / "metrics.csv")}))


def identify(config: TrainingConfig, coco_cache: CocoCache) -> dict[str, Any]:
    """Return what must be unchanged for an interrupted training to be resumed: config, data, code version."""
    data = {part: _hash_of(coco_cache.json_path(part)) for part in ("train", "val")}
    data["photos"] = _hash_of(coco_cache.root / "photos.parquet")
    return {"config": fingerprinted(config), "data": data, "code_version": TrainingRun.code_version}


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
