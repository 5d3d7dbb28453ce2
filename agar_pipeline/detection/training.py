"""Training from COCO columns to checkpoints: data, model and Lightning's Trainer put together.

Here: assembly, for one process or for one rank of many. Not here: starting ranks (`launch`).
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from agar_pipeline.config import TrainingConfig
from agar_pipeline.detection.checkpoint import CheckpointFacts
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.dataset import DetectionDataset, build_loader, choose_workers
from agar_pipeline.detection.devices import World, resolve_accelerator, resolve_precision
from agar_pipeline.detection.lightning_module import DetectorModule, Progress
from agar_pipeline.detection.model import Detector, DetectorSpec, build_detector, make_spec
from agar_pipeline.detection.validation import Validation
from agar_pipeline.detection.weights import load_weights
from agar_pipeline.errors import ComputeError, TrainingError


@dataclass(frozen=True)
class TrainingOutcome:
    """What training came to; the checkpoints and `metrics.csv` are on disk."""

    detector: Detector
    """As it was after the last step."""
    spec: DetectorSpec
    best: CheckpointFacts
    last: CheckpointFacts
    first_losses: dict[str, float]
    last_losses: dict[str, float]
    world_size: int
    accelerator: str
    precision: str
    train_seconds: float
    validation_seconds: float


def train(
    config: TrainingConfig,
    train_columns: CocoColumns,
    val_columns: CocoColumns,
    images_dir: Path,
    out_dir: Path,
    log: Callable[[str], None],
    *,
    most_boxes: int | None = None,
) -> TrainingOutcome:
    """Train a detector. Under torchrun every rank calls this; only rank 0 writes.

    Args:
        config: Data, model, optimizer, trainer and seed.
        train_columns: What is learnt.
        val_columns: What the best model is chosen on; the same categories.
        images_dir: Folder of both parts' images.
        out_dir: Receives `checkpoints/best.ckpt`, `checkpoints/last.ckpt` and `metrics.csv`.
        log: Told how it goes, at most about every three seconds.
        most_boxes: Boxes in the fullest image to reckon with; default: of both parts.

    Raises:
        TrainingError: nothing to learn from, a loss that is not finite, or no memory left.
        PipelineError: what images, boxes, weights or devices are refused for.
    """
    _silence_lightning()
    _require_data(train_columns, val_columns)
    world = World.from_environment()
    _require_world(world, config)
    accelerator = resolve_accelerator(config.trainer.accelerator, world.local_size)
    precision = resolve_precision(config.trainer.precision, accelerator)
    if precision != config.trainer.precision:
        log(f"precision {config.trainer.precision} is not in this hardware: {precision}")
    L.seed_everything(config.seed, verbose=False)

    dataset = DetectionDataset(train_columns, images_dir, config.data.input_size, config.data, config.seed)
    loader, val_loader = _loaders(config, dataset, val_columns, world, accelerator)
    most = most_boxes or max(_most_boxes(train_columns), _most_boxes(val_columns))
    sides = _box_sides(train_columns, config.data.input_size)
    spec = make_spec(config.model, len(train_columns.category_ids), config.data.input_size, sides, most)
    detector = _start_detector(config, spec)

    progress = Progress(config.trainer, len(loader))
    file_names = dict(zip(train_columns.image_ids.tolist(), train_columns.file_names.tolist(), strict=True))
    module = DetectorModule(detector, config.optimizer, progress, file_names)
    validation = Validation(
        columns=val_columns,
        loader=val_loader,
        train_dataset=dataset,
        out_dir=out_dir,
        spec=spec,
        precision=config.trainer.precision,
        resolved=(accelerator, precision),
        channels_last=config.trainer.channels_last,
        every_n_epochs=config.trainer.val_every_n_epochs,
        log_every_n_steps=config.trainer.log_every_n_steps,
        tell=log,
    )
    started_at = time.monotonic()
    _fit(_build_trainer(config, world, accelerator, precision, out_dir, validation), module, loader, config)
    if world.rank == 0:
        _keep_only_metrics(out_dir)
    assert validation.last is not None
    return TrainingOutcome(
        detector=module.detector,
        spec=spec,
        best=validation.best or validation.last,
        last=validation.last,
        first_losses=validation.first_losses,
        last_losses=module.losses,
        world_size=world.size,
        accelerator=accelerator,
        precision=precision,
        train_seconds=time.monotonic() - started_at - validation.seconds,
        validation_seconds=validation.seconds,
    )


def _silence_lightning() -> None:
    """Lightning's tips and notes are about choices that are made here on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*torch.cpu.amp.*")


def _require_data(train_columns: CocoColumns, val_columns: CocoColumns) -> None:
    if not len(train_columns.image_ids) or train_columns.iscrowd.all():
        raise TrainingError(
            f"train has {len(train_columns.image_ids)} images and {int((~train_columns.iscrowd).sum())} boxes, "
            "nothing can be learnt from that: look at the split and the class map"
        )
    if set(train_columns.category_ids.tolist()) != set(val_columns.category_ids.tolist()):
        raise TrainingError(
            f"train has the category ids {sorted(train_columns.category_ids.tolist())}, val has "
            f"{sorted(val_columns.category_ids.tolist())}: they must agree, make both with one class map"
        )


def _require_world(world: World, config: TrainingConfig) -> None:
    asked = config.trainer.devices * config.trainer.num_nodes
    if world.size != asked:
        raise ComputeError(
            f"{world.size} process(es) run, trainer.devices × trainer.num_nodes is {asked}: start as many by torchrun"
        )
    if config.data.batch_size % world.size:
        raise ComputeError(f"data.batch_size {config.data.batch_size} does not divide by {world.size} processes")


def _loaders(
    config: TrainingConfig, dataset: DetectionDataset, val_columns: CocoColumns, world: World, accelerator: str
) -> tuple[DataLoader, DataLoader]:
    workers = choose_workers(config.data.num_workers, len(dataset), world.local_size)
    shared: dict[str, Any] = {"rank": world.rank, "world_size": world.size, "pin_memory": accelerator == "cuda"}
    loader = build_loader(dataset, config.data.batch_size, workers, shuffle=True, **shared)
    val_dataset = DetectionDataset(val_columns, dataset.images_dir, config.data.input_size)
    val_workers = choose_workers(config.data.num_workers, len(val_dataset), world.local_size)
    return loader, build_loader(val_dataset, config.data.batch_size, val_workers, **shared)


def _most_boxes(columns: CocoColumns) -> int:
    counts = np.unique(columns.annotation_image_ids, return_counts=True)[1]
    return int(counts.max()) if len(counts) else 0


def _box_sides(columns: CocoColumns, input_size: int) -> np.ndarray:
    """(N,) square roots of the boxes' areas at the model's scale; boxes without an area are left out."""
    order, starts = columns.rows_of_images()
    longer_sides = np.repeat(columns.sizes_wh.max(axis=1), np.diff(starts))
    boxes = columns.boxes_xywh[order]
    sides = np.sqrt(np.clip(boxes[:, 2], 0, None) * np.clip(boxes[:, 3], 0, None)) * input_size / longer_sides
    return sides[np.isfinite(sides) & (sides > 0)]


def _start_detector(config: TrainingConfig, spec: DetectorSpec) -> Detector:
    detector = build_detector(spec, config.model.weights_backbone if config.model.weights is None else None)
    if config.model.weights is not None:
        load_weights(detector.model, spec.name, config.model.weights)
    detector.frozen_batch_norm = config.model.weights is not None or config.model.weights_backbone is not None
    return detector.to(memory_format=torch.channels_last) if config.trainer.channels_last else detector


def _build_trainer(
    config: TrainingConfig, world: World, accelerator: str, precision: str, out_dir: Path, validation: Validation
) -> L.Trainer:
    strategy: Any = "auto"
    if world.size > 1:
        strategy = DDPStrategy(process_group_backend="nccl" if accelerator == "cuda" else "gloo")
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=world.local_size,
        num_nodes=config.trainer.num_nodes,
        strategy=strategy,
        precision=precision,
        max_epochs=config.trainer.max_epochs or -1,
        max_steps=config.trainer.max_steps or -1,
        gradient_clip_val=config.optimizer.clip_norm,
        logger=CSVLogger(str(out_dir), name="lightning", version="csv"),
        callbacks=[validation],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        log_every_n_steps=config.trainer.log_every_n_steps,
    )
    if trainer.world_size != world.size:
        raise ComputeError(f"Lightning made a world of {trainer.world_size} processes, torchrun started {world.size}")
    return trainer


def _fit(trainer: L.Trainer, module: DetectorModule, loader: DataLoader, config: TrainingConfig) -> None:
    try:
        trainer.fit(module, loader)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"no memory left with data.batch_size={config.data.batch_size} and "
            f"data.input_size={config.data.input_size}: lower one of them ({str(error).splitlines()[0]})"
        ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not math.isfinite(module.losses.get("loss", math.nan)):
        raise TrainingError("training ended before its first step: raise trainer.max_seconds or max_steps")


def _keep_only_metrics(out_dir: Path) -> None:
    """Lightning's logger wants a folder of its own; of what is in it only the CSV is ours."""
    folder = out_dir / "lightning" / "csv"
    (folder / "metrics.csv").replace(out_dir / "metrics.csv")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.parent.rmdir()
