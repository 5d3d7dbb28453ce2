"""Keeps box coordinates in float32 if the layers around them use a lower precision.

Under autocast torchvision makes anchors in the type of the feature maps, and decodes boxes in the type of the head's
output. bfloat16 has steps of 4 px from 512 px and of 8 px from 1,024 px, and a colony there is 13 px wide. Convolutions
keep the lower precision, because they take most of the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator


def keep_boxes_in_float32(model: nn.Module, heads: Iterable[nn.Module]) -> None:
    """Make a torchvision detector generate its anchors, encode targets and decode the boxes of `heads` in float32."""
    for module in model.modules():
        if isinstance(module, AnchorGenerator | DefaultBoxGenerator):
            module.register_forward_pre_hook(_give_float32_levels)
    for head in heads:
        head.register_forward_hook(_answer_in_float32)


def _give_float32_levels(generator: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace the feature maps by one channel in float32: an anchor generator reads only type, device and size."""
    images, levels = arguments
    return images, [level if level.dtype == torch.float32 else level[:1, :1].float() for level in levels]


def _answer_in_float32(head: nn.Module, arguments: tuple[Any, ...], answer: Any) -> Any:
    return _to_float32(answer)


def _to_float32(answer: Any) -> Any:
    """The tensors of a dict, a list or a tuple, converted to float32."""
    if isinstance(answer, torch.Tensor):
        return answer.float()
    if isinstance(answer, dict):
        return {name: _to_float32(value) for name, value in answer.items()}
    return type(answer)(_to_float32(value) for value in answer)
