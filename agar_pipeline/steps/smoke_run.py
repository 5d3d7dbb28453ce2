"""Runs one training step, a checkpoint round trip and an evaluation, to prove that a training works on this machine.

It runs the code of training with `max_steps=1` and one batch of the experiment's data.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.artifacts import BboxReport, CocoCache
from agar_pipeline.artifacts.refusals import refusal_of_boxes, require
from agar_pipeline.config import TrainingConfig
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.step_code.machine import record_machine

if TYPE_CHECKING:
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.detection.training.train import TrainingOutcome

SMOKE_VAL_IMAGES = 4


def build(config: TrainingConfig, out_dir: Path, log: Log, coco_cache: CocoCache, bbox_report: BboxReport) -> None:
    """Write `smoke.json`, which is the same on every machine, and `profile.json`, the measurements.

    Raises:
        GateError: the bbox report refuses the data.
        PipelineError: any error that would stop a training.
    """
    require(refusal_of_boxes(bbox_report))
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.detection.fitting.model_fitting import fit_config
    from agar_pipeline.detection.models import ranks
    from agar_pipeline.detection.training.determinism import determinism
    from agar_pipeline.detection.training.round_trip import check_round_trip
    from agar_pipeline.detection.training.train import train

    train_columns, val_columns = read_coco(coco_cache.json_path("train")), read_coco(coco_cache.json_path("val"))
    config = fit_config(config, train_columns)
    batch, few = _fullest_images(train_columns, config.data.batch), _fullest_images(val_columns, SMOKE_VAL_IMAGES)
    scratch = out_dir / "smoke"
    fitting: dict[str, Any] = {"most_boxes": _most_boxes(coco_cache), "all_columns": train_columns}
    outcome = train(config, batch, few, coco_cache.images_dir, scratch, log, **fitting)
    if not World.from_environment().is_first:
        return
    metrics, look_s = check_round_trip(outcome, scratch, few, coco_cache.images_dir, config.optimizer.lr)
    val_s = min(outcome.validation_seconds, look_s)  # an untrained head finds boxes everywhere: it is slower
    shutil.rmtree(scratch)
    outcome.detector.to("cpu")  # frees the device: the profile is measured with as much memory as training has
    with ranks.as_single_rank(), determinism(config.trainer):
        profile = _profile(config, outcome, batch, train_columns, val_columns, coco_cache.images_dir, val_s)
    record_machine(out_dir, outcome.accelerator, outcome.precision, config.model)
    _write(out_dir, _facts(config, outcome, metrics), profile)
    for line in (*profile["chart"], profile["verdict"], profile["forecast"]["sentence"], *profile["warnings"]):
        log(line)
    log(f"smoke passed: loss {outcome.last_losses['loss']:.2f}")


def _fullest_images(columns: CocoColumns, count: int) -> CocoColumns:
    """Return the images with the most boxes: they need the most memory, and test the caps on boxes per image."""
    import numpy as np

    _, starts = columns.rows_of_images()
    rows = np.argsort(-np.diff(starts), kind="stable")[:count]
    return columns.take_images(np.sort(rows))


def _most_boxes(coco_cache: CocoCache) -> int:
    import numpy as np

    from agar_pipeline.coco.columns import read_coco

    parts = [read_coco(coco_cache.json_path(part)).rows_of_images()[1] for part in ("train", "val")]
    return int(max(np.diff(starts).max(initial=1) for starts in parts))


def _facts(config: TrainingConfig, outcome: TrainingOutcome, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "ok": True,
        "steps": outcome.last.step,
        "data": outcome.last.data_words,
        "model": config.model.name,
        "input_size": config.data.model_side,
        "batch_size": config.data.batch,
        "class_names": list(outcome.last.class_names),
        "category_ids": list(outcome.last.category_ids),
        "detections_per_image": outcome.spec.detections_per_image,
        "losses": sorted(outcome.last_losses),
        "losses_finite": True,
        "checkpoint_round_trip": True,
        "metrics_backend": "hotcoco",
        "metrics": sorted(name for name in metrics if name.startswith(("map", "mar"))),
    }


def _profile(
    config: TrainingConfig,
    outcome: TrainingOutcome,
    batch: CocoColumns,
    train_columns: CocoColumns,
    val_columns: CocoColumns,
    images_dir: Path,
    val_s: float,
) -> dict[str, Any]:
    """Return the time per step, the forecast that follows from it, and warnings of mistakes that raise no error."""
    return {
        **_measure_steps(config, outcome, train_columns, val_columns, images_dir, val_s),
        "warnings": _warnings(config, batch),
        "losses": outcome.last_losses,
        "first_step_seconds": round(outcome.train_seconds, 3),
        "validation_seconds": round(outcome.validation_seconds, 3),
        "accelerator": outcome.accelerator,
        "precision": outcome.precision,
        "world_size": outcome.world.size,
        "batch": {
            "images": len(batch.image_ids),
            "boxes": len(batch.boxes_xywh),
            "scale": _scale(config, batch),
            "smallest_side_px": float(batch.boxes_xywh[:, 2:].min()) if len(batch.boxes_xywh) else None,
            "largest_side_px": float(batch.boxes_xywh[:, 2:].max()) if len(batch.boxes_xywh) else None,
        },
    }


def _measure_steps(
    config: TrainingConfig,
    outcome: TrainingOutcome,
    train_columns: CocoColumns,
    val_columns: CocoColumns,
    images_dir: Path,
    val_s: float,
) -> dict[str, Any]:
    from agar_pipeline.detection.loading.dataset import count_items
    from agar_pipeline.detection.loading.sampling import count_batches
    from agar_pipeline.detection.training.bottleneck import (
        draw_parts,
        forecast,
        reckon_step_s,
        say_bottleneck,
        say_forecast,
    )
    from agar_pipeline.detection.training.profile import profile_steps
    from agar_pipeline.processes.devices import count_cores

    world, place = outcome.world, (outcome.accelerator, outcome.precision)
    measured = profile_steps(config, outcome.spec, train_columns, images_dir, *place, world.size)
    cores = max(1, count_cores() // world.local_size)
    step_s = reckon_step_s(measured, measured.num_workers, cores, outcome.accelerator)
    expected = forecast(
        measured,
        config.forecast_for or config.trainer,
        steps_per_epoch=count_batches(count_items(train_columns, config.data), config.data.batch),
        val_images=len(val_columns.image_ids),
        val_s_per_image=val_s / min(SMOKE_VAL_IMAGES, max(1, len(val_columns.image_ids))),
        step_s=step_s,
    )
    return {
        "verdict": say_bottleneck(measured, cores, outcome.accelerator),
        "chart": draw_parts(measured),
        "forecast": {**expected, "sentence": say_forecast(expected)},
        "measured": asdict(measured),
        "step_seconds": step_s,
        "cores": cores,
    }


def _scale(config: TrainingConfig, batch: CocoColumns) -> float:
    return 1.0 if config.data.image_side is None else config.data.image_side / float(batch.sizes_wh.max())


def _warnings(config: TrainingConfig, batch: CocoColumns) -> list[str]:
    warnings = []
    smallest = float(batch.boxes_xywh[:, 2:].min(initial=float("inf"))) * _scale(config, batch)
    if smallest < 4:
        warnings.append(
            f"the smallest box is {smallest:.1f} px wide for the model: raise data.scale or data.input_size"
        )
    shrunk = batch.sizes_wh.max(axis=1) < batch.original_sizes_wh.max(axis=1)
    if shrunk.any() and (copies := int(batch.sizes_wh[shrunk].max())) < (config.data.image_side or 0):
        warnings.append(
            f"the cache's copies of {copies} px are enlarged to {config.data.image_side} px again: "
            "raise max_side in the pipeline file, or lower data.input_size (with tiles: data.scale)"
        )
    return warnings


def _write(out_dir: Path, facts: dict[str, Any], profile: dict[str, Any]) -> None:
    (out_dir / "smoke.json").write_text(json.dumps(facts, indent=2))
    (out_dir / "profile.json").write_text(json.dumps(profile, indent=2))
