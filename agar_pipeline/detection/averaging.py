"""A running average of the weights (EMA), which often predicts better than the last step's own."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from agar_pipeline.detection.model import Detector

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class WeightAverage:
    """The detector that validation and checkpoints take in place of the trained one."""

    def __init__(self, detector: Detector, decay: float) -> None:
        def average(averages: Tensors, values: Tensors, count: torch.Tensor | int) -> None:
            # the first steps weigh more, so that the random start is forgotten (Polyak average of TensorFlow)
            kept = min(decay, (1 + int(count)) / (10 + int(count)))
            for mean, value in zip(averages, values, strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value.to(mean.dtype), 1 - kept)
                else:
                    mean.copy_(value)

        self._model = AveragedModel(detector, multi_avg_fn=average, use_buffers=True)

    @property
    def detector(self) -> Detector:
        averaged = self._model.module
        assert isinstance(averaged, Detector)
        return averaged

    def to(self, device: torch.device) -> None:
        """Where the trained detector is."""
        self._model.to(device)

    def update(self, detector: Detector) -> None:
        """After a step."""
        self._model.update_parameters(detector)

    def state(self) -> dict[str, Any]:
        return self._model.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        self._model.load_state_dict(state)
