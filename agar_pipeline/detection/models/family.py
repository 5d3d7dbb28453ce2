"""The protocol of a family of detectors: all that differs from one family to another.

Here: the protocol, and what most families have in common. Not here: the families (`families` lists them), what all
detectors share (`detector`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from agar_pipeline.config import ModelConfig
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.weights import load_weights

AnchorSizes = dict[int, tuple[float, ...]]
"""As in `DetectorSpec.anchor_sizes`."""


class Family(ABC):
    """A family of detectors. It has no state: the models that it builds are given to its methods.

    A model is called as torchvision's detectors are. Images are (3, H, W) uint8. In training it gets `(images,
    targets)`, with `boxes` (N, 4) xyxy in pixels and `labels` (N,) of its own (see `label_shift`), and returns a dict
    of losses. In evaluation it gets `images`, and returns for each of them `boxes` (D, 4) xyxy in pixels, `labels` and
    `scores`, each (D,), and `left_out`: a number on the model's device, the best score among the candidates that a
    limit cut off before the detections were made; 1 if that score is not known, -1 if none was cut off.
    """

    label_shift: ClassVar[int] = 0
    """What is added to the model's labels to get 1…K: 1 if the model counts classes from 0, and 0 if class 0 is the
    background."""
    has_anchors: ClassVar[bool] = False
    """Whether `model.smallest_anchor` can be set."""
    weighs_ranks: ClassVar[bool] = False
    """Whether the model itself weights the ranks' losses, by colonies, which is exact.

    Losses of the others are means over a rank's images; they are weighted by the number of images.
    """
    candidates_are_costly: ClassVar[bool] = False
    """Whether each candidate takes so much time and memory that their number must stay near what a plate needs."""

    @abstractmethod
    def build(self, spec: DetectorSpec, weights_backbone: str | None = None) -> nn.Module:
        """Build the model with random weights, or with those of a backbone. Nothing is downloaded unless one is named.

        Raises:
            ConfigError: the weights cannot be read or downloaded.
        """

    @abstractmethod
    def set_limits(self, model: nn.Module, cap: int, score_floor: float | None = None) -> None:
        """Set the maximum number of detections per image, and the minimum score (None: unchanged).

        The limit of candidates becomes a multiple of `cap` if a colony has several candidates.
        """

    def fit_anchors(self, box_sides: np.ndarray, smallest: float | None) -> AnchorSizes:  # noqa: ARG002
        """Choose anchors for boxes of these sides, pixels at the model's scale; `smallest` is given, or None."""
        return {}

    def find_architecture(self, model: ModelConfig) -> dict[str, Any] | None:  # noqa: ARG002
        """What `DetectorSpec.architecture` gets. Nothing is downloaded if `model.weights` is a local folder or null.

        Raises:
            ConfigError: `model.weights` belongs to another kind of model.
        """
        return None

    def load_weights(self, model: nn.Module, name: str, weights: str, class_names: Sequence[str] = ()) -> list[str]:
        """As `weights.load_weights`."""
        return load_weights(model, name, weights, class_names)

    def parameter_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for the optimizer; `lr_factor` of a group multiplies the learning rate, and is 1 if absent."""
        return decay_weights(model, weight_decay)

    def why_not_exported(self) -> str | None:
        """Why there is no ONNX file of such a model; None if it can be exported."""
        return None


def decay_weights(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay applies to weights, but not to biases and the scales of norms, which have one axis."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    decay = np.array([p.ndim > 1 for p in trainable])
    return [
        {"params": [p for p, d in zip(trainable, decay, strict=True) if d], "weight_decay": weight_decay},
        {"params": [p for p, d in zip(trainable, decay, strict=True) if not d], "weight_decay": 0.0},
    ]


def with_left_out(answers: list[dict[str, torch.Tensor]], left_out: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Add `left_out`, (N,), to the answers for N images."""
    return [{**answer, "left_out": left_out[image]} for image, answer in enumerate(answers)]


def to_float32(value: Any) -> Any:
    """The floating point tensors of a dict, a list or a tuple, converted to float32; all else as it is."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: to_float32(each) for name, each in value.items()}
    return type(value)(map(to_float32, value)) if type(value) in (list, tuple) else value
