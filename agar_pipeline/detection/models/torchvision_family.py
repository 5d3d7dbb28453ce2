"""What the families of torchvision's detectors have in common, whatever parameter names each uses.

Here: building with random or backbone weights, the scale of anchors, limits, the input of uint8 images, box coordinates
in float32. Not here: the families (`faster_rcnn`, `fcos`, `retinanet`, `ssd`, `tiny`), pretrained detectors
(`weights`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d

from agar_pipeline.config import DETECTORS
from agar_pipeline.detection.models.family import AnchorSizes, Family, to_float32
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.errors import ConfigError


class TorchvisionFamily(Family):
    """A family of torchvision's detectors."""

    def build(self, spec: DetectorSpec, weights_backbone: str | None = None) -> nn.Module:
        model = self._build_plain(spec, weights_backbone)
        transform = model.transform
        model.transform = KeepScale(transform.image_mean, transform.image_std, transform.size_divisible)
        keep_boxes_in_float32(model, self.heads(model))
        self.report_left_out(model)
        built: nn.Module = model
        return built

    def set_limits(self, model: Any, cap: int, score_floor: float | None = None) -> None:
        model.topk_candidates = max(1000, 4 * cap)
        model.detections_per_img = cap
        model.score_thresh = model.score_thresh if score_floor is None else score_floor

    @abstractmethod
    def report_left_out(self, model: Any) -> None:
        """Make the model add `left_out` to its answers.

        The cost is a count over the scores, and one transfer from the device per batch. The class of the model is
        replaced, because a bound method in its place would be shared by copies of the model.
        """

    def heads(self, model: Any) -> Sequence[nn.Module]:
        """The layers whose outputs are decoded to boxes."""
        return [model.head]

    def limits_in_training(self, cap: int) -> dict[str, int]:
        """Limits that torchvision's builder takes."""
        return {}

    def build_as_if_pretrained(self, model: Any, name: str, num_classes: int) -> None:
        """Give a model with random weights the layers that torchvision builds for a pretrained backbone."""
        if DETECTORS[name].freezes_norms:
            _freeze_norms(model.backbone.body)

    def _build_plain(self, spec: DetectorSpec, weights_backbone: str | None) -> Any:
        classes = spec.num_classes + 1 - self.label_shift
        limits = self.limits_in_training(spec.detections_per_image)
        build = partial(torchvision.models.get_model, spec.name, weights=None, num_classes=classes, **limits)
        try:
            model: Any = build(weights_backbone=weights_backbone)
        except URLError as error:
            raise ConfigError(
                f"could not be downloaded for {spec.name} ({error})",
                where="model.weights_backbone",
                value=weights_backbone,
                next_step="set model.weights_backbone=null, and model.weights to the path of a whole state dict or to "
                "null",
            ) from error
        if spec.pretrained_backbone and weights_backbone is None:
            self.build_as_if_pretrained(model, spec.name, classes)
        return model


def choose_smallest_anchor(box_sides: np.ndarray, smallest: float | None) -> AnchorSizes:
    """The smallest side under the key 0: as given, or the 0.1 quantile of the boxes' sides, from 8 to 32 px."""
    if smallest is None and len(box_sides):
        smallest = round(float(np.clip(np.quantile(box_sides, 0.1), 8, 32)), 1)
    return {} if smallest is None else {0: (smallest,)}


def scale_anchors(owner: Any, anchor_sizes: AnchorSizes) -> None:
    """Scale the anchors of `owner` (32 px or more by default) to the data's boxes.

    Their number, and so every weight, stays the same.
    """
    if 0 not in anchor_sizes:
        return
    defaults = owner.anchor_generator
    factor = anchor_sizes[0][0] / min(defaults.sizes[0])
    sizes = tuple(tuple(side * factor for side in sides) for sides in defaults.sizes)
    owner.anchor_generator = AnchorGenerator(sizes, defaults.aspect_ratios)


def _freeze_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, child.eps))
        else:
            _freeze_norms(child)


class KeepScale(GeneralizedRCNNTransform):
    """Normalizes uint8 images and pads them, but never resizes: images already have the model's scale.

    (torchvision's `_skip_resize` has an effect in training only.)
    """

    factor: torch.Tensor
    offset: torch.Tensor

    def __init__(self, mean: list[float], std: list[float], size_divisible: int = 32) -> None:
        super().__init__(0, 0, mean, std, size_divisible=size_divisible)
        std_column = torch.tensor(std)[:, None, None]
        self.register_buffer("factor", 1 / (255 * std_column), persistent=False)  # a buffer: moves to the device
        self.register_buffer("offset", torch.tensor(mean)[:, None, None] / std_column, persistent=False)

    def normalize(self, image: torch.Tensor) -> torch.Tensor:
        """(3, H, W) uint8 → (x / 255 − mean) / std, in place on one float copy: 2.5 ms for 1024 px instead of 11 ms."""
        if image.dtype != torch.uint8:
            return super().normalize(image)
        planar = image.to(torch.float32, memory_format=torch.contiguous_format)
        return planar.mul_(self.factor).sub_(self.offset)

    def resize(self, image: torch.Tensor, target: Any = None) -> tuple[torch.Tensor, Any]:
        return image, target


def keep_boxes_in_float32(model: nn.Module, heads: Iterable[nn.Module]) -> None:
    """Make a torchvision detector generate its anchors, encode targets and decode the boxes of `heads` in float32.

    Under autocast torchvision makes anchors in the type of the feature maps, and decodes boxes in the type of the
    head's output. bfloat16 has steps of 4 px from 512 px and of 8 px from 1,024 px, and a colony there is 13 px wide.
    Convolutions keep the lower precision, because they take most of the time.
    """
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
    return to_float32(answer)
