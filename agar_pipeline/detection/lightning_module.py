"""One training step, the learning rate over the limits of training, and when training ends.

Here: what Lightning calls. Not here: validation and checkpoints (`validation`), the Trainer (`training`).
"""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from agar_pipeline.config import OptimizerConfig, TrainerConfig
from agar_pipeline.detection.dataset import Batch
from agar_pipeline.detection.model import Detector
from agar_pipeline.errors import TrainingError


class Progress:
    """How far training is, between 0 and 1, by whichever limit is nearest."""

    def __init__(self, limits: TrainerConfig, steps_per_epoch: int) -> None:
        self.limits = limits
        self.max_steps = min(
            limits.max_steps or math.inf,
            (limits.max_epochs or math.inf) * steps_per_epoch,
        )
        self.started_at: float | None = None
        self.fraction = 0.0
        self.step = 0

    def advance(self, step: int, device: torch.device) -> None:
        """Update after `step` steps. With several ranks the first one's clock holds, so that all end together."""
        if self.started_at is None:
            self.started_at = time.monotonic()
        self.step = step
        fraction = step / self.max_steps
        if self.limits.max_seconds is not None:
            elapsed = self.elapsed_s / self.limits.max_seconds
            if dist.is_initialized():
                shared = torch.tensor(elapsed, dtype=torch.float32, device=device)
                dist.broadcast(shared, src=0)
                elapsed = float(shared)
            fraction = max(fraction, elapsed)
        self.fraction = min(1.0, fraction)

    @property
    def elapsed_s(self) -> float:
        return 0.0 if self.started_at is None else time.monotonic() - self.started_at

    @property
    def left_s(self) -> float:
        """Seconds that remain, by the pace so far."""
        by_pace = self.elapsed_s * (1 / self.fraction - 1) if self.fraction else math.inf
        return max(0.0, min(by_pace, (self.limits.max_seconds or math.inf) - self.elapsed_s))


class DetectorModule(L.LightningModule):
    """A detector, its optimizer and its schedule."""

    def __init__(
        self, detector: Detector, optimizer: OptimizerConfig, progress: Progress, file_names: dict[int, str]
    ) -> None:
        """`file_names`: image_id → file name, to name the images of a batch that fails."""
        super().__init__()
        self.detector = detector
        self.optimizer_config = optimizer
        self.progress = progress
        self.file_names = file_names
        self.losses: dict[str, float] = {}
        """Of the last step: each part, and `loss`, their sum."""

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        images, targets = batch
        parts = self.detector(images, targets)
        loss = torch.stack(list(parts.values())).sum()
        self.losses = {**{name: float(part.detach()) for name, part in parts.items()}, "loss": float(loss.detach())}
        if not math.isfinite(self.losses["loss"]):
            self._refuse_loss([target["image_id"] for target in targets])
        return loss

    def _refuse_loss(self, image_ids: list[int]) -> None:
        names = ", ".join(str(self.file_names.get(i, i)) for i in image_ids)
        parts = ", ".join(f"{name} {value:g}" for name, value in self.losses.items() if name != "loss")
        raise TrainingError(
            f"the loss is {self.losses['loss']} at step {self.global_step} ({parts}) on the images {names}\n"
            f"lower optimizer.lr (now {self.optimizer_config.lr:g}), or look at these images' boxes"
        )

    def on_train_start(self) -> None:
        self.progress.advance(self.global_step, self.device)

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        rate = self.optimizer_config.lr * self._rate_factor()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def _rate_factor(self) -> float:
        """Linear warm-up times cosine over the limits; a short run warms up over its first tenth at most."""
        by_steps = (self.global_step + 1) / (self.optimizer_config.warmup_steps + 1)
        factor = min(1.0, max(by_steps, self.progress.fraction * 10))
        if self.optimizer_config.schedule == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * self.progress.fraction))
        return factor

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        self.progress.advance(self.global_step, self.device)
        if self.progress.fraction >= 1:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = parameter_groups(self.detector, self.optimizer_config.weight_decay)
        lr = self.optimizer_config.lr
        if self.optimizer_config.name == "sgd":
            return torch.optim.SGD(groups, lr=lr, momentum=self.optimizer_config.momentum)
        return torch.optim.AdamW(groups, lr=lr, fused=True if self.device.type == "cpu" else None)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        images, targets = batch
        moved = [
            {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in target.items()}
            for target in targets
        ]
        return [image.to(device, non_blocking=True) for image in images], moved


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of norms, which have one axis, do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    decay = np.array([p.ndim > 1 for p in trainable])
    return [
        {"params": [p for p, d in zip(trainable, decay, strict=True) if d], "weight_decay": weight_decay},
        {"params": [p for p, d in zip(trainable, decay, strict=True) if not d], "weight_decay": 0.0},
    ]
