"""The input of torchvision's detectors: normalizes and pads uint8 images that already have the model's scale."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform


class KeepScale(GeneralizedRCNNTransform):
    """Normalizes uint8 images and pads them, but never resizes: images already have the model's scale.

    (torchvision's `_skip_resize` has an effect in training only.)
    """

    factor: torch.Tensor
    offset: torch.Tensor

    def __init__(self, mean: list[float], std: list[float], size_divisible: int = 32) -> None:
        super().__init__(0, 0, mean, std, size_divisible=size_divisible)
        std_column = torch.tensor(std)[:, None, None]
        self.register_buffer("factor", 1 / (255 * std_column), persistent=False)  # a buffer: is on the device
        self.register_buffer("offset", torch.tensor(mean)[:, None, None] / std_column, persistent=False)

    def normalize(self, image: torch.Tensor) -> torch.Tensor:
        """(3, H, W) uint8 → (x / 255 − mean) / std, in place on one float copy: 2.5 ms for 1024 px instead of 11 ms."""
        if image.dtype != torch.uint8:
            return super().normalize(image)
        planar = image.to(torch.float32, memory_format=torch.contiguous_format)
        return planar.mul_(self.factor).sub_(self.offset)

    def resize(self, image: torch.Tensor, target: Any = None) -> tuple[torch.Tensor, Any]:
        return image, target
