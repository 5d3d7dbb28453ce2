"""A running average of the weights (EMA), which often predicts better than the weights of the last step."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch.optim import swa_utils

from agar_pipeline.detection.models.detector import Detector


class WeightAverage:
    """The detector with averaged weights; validation and checkpoints use it instead of the trained one.

    torch's AveragedModel is not used, because it counts its updates on the device and would synchronise it at each
    step.
    """

    def __init__(self, detector: Detector, decay: float) -> None:
        self.detector, self._decay, self._count = copy.deepcopy(detector), decay, 0

    def to(self, device: torch.device) -> None:
        self.detector.to(device)

    @torch.no_grad()
    def update(self, detector: Detector) -> None:
        """Update the average after a step."""
        # the decay is smaller in the first steps, so that the random start fades (as in TensorFlow's EMA)
        kept = min(self._decay, (1 + self._count) / (10 + self._count)) if self._count else 0.0
        pairs = list(zip(_tensors(self.detector), _tensors(detector), strict=True))
        averaged = [(mean, value) for mean, value in pairs if kept and mean.is_floating_point()]
        taken = [(mean, value) for mean, value in pairs if not kept or not mean.is_floating_point()]
        if averaged:
            update_all = swa_utils.get_ema_multi_avg_fn(kept)  # all tensors in one call
            update_all([mean for mean, _ in averaged], [value for _, value in averaged], None)
        for mean, value in taken:
            mean.copy_(value)
        self._count += 1

    def state(self) -> dict[str, Any]:
        return {"count": self._count, "detector": self.detector.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
        self.detector.load_state_dict(state["detector"])


def _tensors(detector: Detector) -> list[torch.Tensor]:
    return [tensor.detach() for tensor in chain(detector.parameters(), detector.buffers())]
