"""What happens at the end of an epoch: predict val as the evaluation does, keep the best model, say how it goes."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch.distributed as dist
from torch.utils.data import DataLoader

from agar_pipeline.detection.checkpoint import CheckpointFacts, save_checkpoint
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.counting import choose_score_threshold, counting_metrics
from agar_pipeline.detection.dataset import DetectionDataset
from agar_pipeline.detection.detections import Detections
from agar_pipeline.detection.devices import fit_threads
from agar_pipeline.detection.lightning_module import DetectorModule
from agar_pipeline.detection.metrics import coco_metrics
from agar_pipeline.detection.model import DetectorSpec
from agar_pipeline.detection.predict import predict_uncapped

LOG_EVERY_S = 3.0
FIT_THREADS_EVERY_S = 15.0


@dataclass(eq=False)
class Validation(L.Callback):
    """Validates every so many epochs and at the end, writes `checkpoints/{best,last}.ckpt`, and reports progress."""

    columns: CocoColumns
    loader: DataLoader
    """This rank's share of val."""
    train_dataset: DetectionDataset
    out_dir: Path
    spec: DetectorSpec
    precision: str
    """As asked for; written into checkpoints."""
    resolved: tuple[str, str]
    """Accelerator and precision that are used."""
    channels_last: bool
    every_n_epochs: int
    log_every_n_steps: int
    tell: Callable[[str], None]
    """Not `log`: Lightning puts its own there."""
    best: CheckpointFacts | None = None
    last: CheckpointFacts | None = None
    first_losses: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """Spent on validation."""
    _logged_at: float = 0.0
    _threads_fitted_at: float = -math.inf

    def on_train_epoch_start(self, trainer: L.Trainer, module: Any) -> None:
        self.train_dataset.epoch.fill_(trainer.current_epoch)
        in_a_hurry = self.resolved[0] == "cpu" and module.progress.limits.max_seconds is not None
        if in_a_hurry and time.monotonic() - self._threads_fitted_at > FIT_THREADS_EVERY_S:
            fit_threads()
            self._threads_fitted_at = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        self.first_losses = self.first_losses or dict(module.losses)
        if trainer.global_step % self.log_every_n_steps == 0 and trainer.logger is not None:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {"epoch": trainer.current_epoch, "lr": rate, **{f"train_{k}": v for k, v in module.losses.items()}}
            trainer.logger.log_metrics(row, trainer.global_step)
        if time.monotonic() - self._logged_at > LOG_EVERY_S:
            self._report(trainer, module)

    def on_train_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0 and module.progress.fraction < 1:
            self._validate(trainer, module)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        if self.last is None or self.last.step != trainer.global_step:
            self._validate(trainer, module)
        if trainer.is_global_zero:
            assert self.last is not None
            save_checkpoint(self.out_dir / "checkpoints" / "last.ckpt", module.detector, self.last)
            if self.best is None:  # val has no boxes: the last model is as good as any
                shutil.copyfile(self.out_dir / "checkpoints/last.ckpt", self.out_dir / "checkpoints/best.ckpt")
                self.best = self.last

    def _validate(self, trainer: L.Trainer, module: DetectorModule) -> None:
        started_at = time.monotonic()
        category_ids = np.sort(self.columns.category_ids)
        detections = predict_uncapped(module.detector, self.loader, category_ids, *self.resolved)
        if dist.is_initialized():
            shares: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(shares, detections)
            detections = Detections.concatenate(shares)
        module.train()
        self.last = self._judge(detections, trainer)
        self.seconds += time.monotonic() - started_at
        self._report(trainer, module)
        if trainer.is_global_zero:
            assert trainer.logger is not None
            values = {f"val_{name}": value for name, value in self.last.metrics.items() if value is not None}
            trainer.logger.log_metrics({"epoch": trainer.current_epoch, **values}, trainer.global_step)
        self._keep_best(trainer, module)

    def _judge(self, detections: Detections, trainer: L.Trainer) -> CheckpointFacts:
        scores = coco_metrics(self.columns, detections)
        threshold = choose_score_threshold(self.columns, detections)
        counting = counting_metrics(self.columns, detections, threshold)
        order = np.argsort(self.columns.category_ids)
        return CheckpointFacts(
            spec=self.spec,
            class_names=tuple(self.columns.class_names[row] for row in order),
            category_ids=tuple(self.columns.category_ids[order].tolist()),
            precision=self.precision,
            channels_last=self.channels_last,
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            score_threshold=threshold,
            metrics={"map_50_95": scores["map"], "map_50": scores["map_50"], "count_mae": counting["mae"]},
        )

    def _keep_best(self, trainer: L.Trainer, module: DetectorModule) -> None:
        assert self.last is not None
        score = self.last.metrics["map_50_95"]
        best_score = None if self.best is None else self.best.metrics["map_50_95"]
        if score is None or (best_score is not None and score <= best_score):
            return
        self.best = self.last
        if trainer.is_global_zero:
            save_checkpoint(self.out_dir / "checkpoints" / "best.ckpt", module.detector, self.last)

    def _report(self, trainer: L.Trainer, module: DetectorModule) -> None:
        self._logged_at = time.monotonic()
        if not trainer.is_global_zero:
            return
        words = [f"epoch {trainer.current_epoch}", f"step {trainer.global_step}", f"loss {module.losses['loss']:.2f}"]
        if self.last is not None and self.last.metrics["map_50"] is not None:
            words.append(f"val map_50 {self.last.metrics['map_50']:.2f}")
        words.append(f"{module.progress.left_s:.0f} s left")
        self.tell(" · ".join(words))
