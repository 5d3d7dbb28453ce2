"""One training step: losses, learning rate, optimizer.

Here: the hooks that Lightning calls for a batch. Not here: the order of events around a step (`training_loop`), the
Trainer (`train`).
"""

from __future__ import annotations

import math

import lightning as L
import torch

from agar_pipeline.config import OptimizerConfig
from agar_pipeline.detection.loading.dataset import Batch
from agar_pipeline.detection.loading.devices import send
from agar_pipeline.detection.models.detector import Detector
from agar_pipeline.detection.training.schedule import Progress, rate_factor
from agar_pipeline.errors import TrainingError


class DetectorModule(L.LightningModule):
    """A detector, its optimizer and its learning rate schedule."""

    def __init__(
        self, detector: Detector, optimizer: OptimizerConfig, progress: Progress, file_names: dict[int, str]
    ) -> None:
        """`file_names`: image_id → file name, used to name the images of a batch that fails."""
        super().__init__()
        self.detector = detector
        self.optimizer_config = optimizer
        self.progress = progress
        self.file_names = file_names
        self.losses: dict[str, float] = {}
        """Losses of the last step: each part, and `loss`, their sum."""
        self.image_ids: list[int] = []
        """Image ids of the last batch."""

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        images, targets = batch
        self.image_ids = [target["image_id"] for target in targets]
        parts = self.detector(images, targets)
        stacked = torch.stack(list(parts.values()))
        loss = stacked.sum()
        values = torch.cat([stacked, loss[None]]).tolist()  # one transfer from the device instead of one per part
        self.losses = dict(zip([*parts, "loss"], values, strict=True))
        if not math.isfinite(self.losses["loss"]):
            self._refuse_loss()
        return loss

    @property
    def batch_names(self) -> str:
        """File names of the last batch."""
        return ", ".join(str(self.file_names.get(image_id, image_id)) for image_id in self.image_ids)

    def _refuse_loss(self) -> None:
        parts = ", ".join(f"{name} {value:g}" for name, value in self.losses.items() if name != "loss")
        raise TrainingError(
            f"the loss is {self.losses['loss']} at step {self.progress.step} ({parts}) on {self.batch_names}",
            next_step=f"lower optimizer.lr (now {self.optimizer_config.lr:g}), or correct the boxes of these images",
        )

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        rate = self.optimizer_config.lr * rate_factor(self.optimizer_config, self.progress)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = self.detector.family.parameter_groups(self.detector.model, self.optimizer_config.weight_decay)
        lr = self.optimizer_config.lr
        if self.optimizer_config.name == "sgd":
            return torch.optim.SGD(groups, lr=lr, momentum=self.optimizer_config.momentum)
        return torch.optim.AdamW(groups, lr=lr, fused=True if self.device.type == "cpu" else None)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients by norm, also for a fused optimizer under autocast, where Lightning's own clipping refuses to
        work.

        bf16 on a CPU is such a case. With 16-mixed, gradients are still scaled here, because Lightning leaves unscaling
        to a fused optimizer's own step; they are unscaled before they are clipped.
        """
        if gradient_clip_val is not None:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        images, targets = batch
        moved = [
            {k: send(v, device) if isinstance(v, torch.Tensor) else v for k, v in target.items()} for target in targets
        ]
        return [send(image, device) for image in images], moved
