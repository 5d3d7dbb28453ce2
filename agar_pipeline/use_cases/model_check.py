"""Tries a detector on this machine: one step of a training with random weights, then its ONNX file.

Here: the training, the export, and what came of both. Not here: the plates (`generate`), the table of detectors
(`model_list`).
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import (
    DETECTORS,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainerConfig,
    TrainingConfig,
    from_plain,
)
from agar_pipeline.config.timm_backbones import PREFIX
from agar_pipeline.detection.models.catalogue import PUBLISHED
from agar_pipeline.errors import MissingPackageError, PipelineError
from agar_pipeline.progress import Log

LEAST_SIDE_PX = 96
BATCH_SIZE = 2
LEARNING_RATE = 1e-4
"""Small, so that one step leaves the scores of any detector finite."""
SPREAD = 0.2
"""Standard deviation of the weights that replace those of the last layer of classes before the export.

After one step all scores are nearly equal. Rounding would then decide which detections are kept, and the ONNX file
could not be compared with the checkpoint.
"""
PROPOSAL_BIAS = -8.0
"""Of the first head of Faster R-CNN: it calls nothing a colony, so that no proposal counts as cut off."""
COMPARED = 200
"""Number of detections on noise that the exported detector has."""


def model_of(name: str) -> ModelConfig:
    """Return the config of a detector with random weights; `timm/NAME` means RetinaNet on that backbone.

    Raises:
        ConfigError: there is no such detector; the message names the most similar one.
    """
    plain = {"name": "retinanet", "backbone": name} if name.startswith(PREFIX) else {"name": name}
    if name in DETECTORS and DETECTORS[name].takes_backbone:
        plain["backbone"] = str(PUBLISHED[name].backbone)
    return from_plain(ModelConfig, plain, where="--check")


def side_of(name: str) -> int:
    """Return the side of the plates on which a detector is tried, pixels."""
    least = DETECTORS[name].least_side if name in DETECTORS else 1
    return -(-max(LEAST_SIDE_PX, least) // 32) * 32


def check_model(model: ModelConfig, columns: CocoColumns, images_dir: Path, work_dir: Path, log: Log) -> dict[str, Any]:
    """Build a detector, train one step of it on some plates, and export it.

    Args:
        model: As `model_of` returns it.
        columns: Plates of `side_of` this model; they are train and val.
        work_dir: Receives the checkpoint and the ONNX file.

    Returns:
        JSON-ready: parameters, seconds, losses, and `onnx`: the size of the file, or why there is none.

    Raises:
        PipelineError: the detector does not exist, cannot be built, or its loss is not finite.
    """
    from agar_pipeline.detection.training.train import train

    MissingPackageError.require(*DETECTORS[model.name].packages)
    side = int(columns.sizes_wh.max())
    config = TrainingConfig(
        DataConfig(input_size=side, batch_size=BATCH_SIZE, num_workers=0),
        model,
        OptimizerConfig(lr=LEARNING_RATE, warmup_steps=0, schedule="constant"),
        TrainerConfig(max_steps=1, log_every_n_steps=1, logger="none"),
        seed=0,
    )
    started_at = time.monotonic()
    outcome = train(config, columns, columns, images_dir, work_dir, log)
    return {
        "name": model.name,
        "backbone": model.backbone,
        "parameters_m": round(sum(p.numel() for p in outcome.detector.parameters()) / 1e6, 1),
        "device": outcome.accelerator,
        "input_px": side,
        "losses": {name: round(loss, 4) for name, loss in outcome.last_losses.items()},
        "step_seconds": round(outcome.train_seconds, 2),
        "seconds": round(time.monotonic() - started_at, 1),
        "onnx": _export(work_dir, log),
    }


def _export(work_dir: Path, log: Log) -> dict[str, Any]:
    from agar_pipeline.detection.inference.export_onnx import export_model

    spread, out = work_dir / "spread.ckpt", work_dir / "model.onnx"
    try:
        MissingPackageError.require("onnx", "onnxscript", "onnxruntime")
        _spread_scores(work_dir / "checkpoints" / "last.ckpt", spread)
        export_model(spread, out, [], log)
    except PipelineError as error:
        return {"exported": False, "why_not": error.what if error.where == str(spread) else error.in_one_line}
    return {"exported": True, "size_mb": round(out.stat().st_size / 1e6, 1)}


def _spread_scores(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint whose scores differ as those of a trained detector do, and whose floor leaves `COMPARED`."""
    import torch

    from agar_pipeline.detection.models.checkpoint import load_checkpoint, save_checkpoint

    detector, facts = load_checkpoint(checkpoint)
    torch.manual_seed(0)
    for name, parameter in detector.named_parameters():
        if name.endswith(("cls_logits.weight", "cls_score.weight")):
            torch.nn.init.normal_(parameter, std=SPREAD)
        if name.endswith("rpn.head.cls_logits.bias"):
            torch.nn.init.constant_(parameter, PROPOSAL_BIAS)
    detector.set_limits(facts.spec.detections_per_image, score_floor=0.0)
    with torch.inference_mode():
        noise = torch.randint(0, 256, (3, facts.spec.input_size, facts.spec.input_size), dtype=torch.uint8)
        scores = detector([noise])[0]["scores"].sort(descending=True).values
    floor = max(0.0, round(float(scores[:COMPARED][-1]) - 0.001, 3)) if len(scores) else 0.0
    spec = dataclasses.replace(facts.spec, score_floor=floor)
    save_checkpoint(out, detector, dataclasses.replace(facts, spec=spec, score_threshold=floor))
