"""A RetinaNet small enough to learn colonies from scratch in one minute on two cores.

Here: its backbone, its head, anchors fitted to a data set, its family. Not here: other detectors (`families`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork

from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.family import AnchorSizes
from agar_pipeline.detection.models.retinanet import RetinaNetFamily
from agar_pipeline.detection.models.spec import DetectorSpec

CHANNELS = {2: 16, 4: 32, 8: 64, 16: 96, 32: 128, 64: 128}
"""Stride of a stage → its channels."""
PYRAMID_CHANNELS = 64
HEAD_CONVOLUTIONS = 1


def fit_anchor_sizes(box_sides: np.ndarray, max_levels: int = 3, smallest: float | None = None) -> AnchorSizes:
    """Choose pyramid levels and anchors for boxes of these sizes.

    An anchor of side a matches (IoU ≥ 0.5) boxes of side a/√2 to a·√2, so that steps of √2 leave no gap. A level of
    stride s has anchors of 2s and 2.8s: (16, 22) on 8 and (32, 45) on 16 suit boxes of about 17 px.

    >>> fit_anchor_sizes(np.array([17.0, 17.0]))
    {8: (16.0, 22.6), 16: (32.0, 45.3)}

    Args:
        box_sides: (N,) square roots of the boxes' areas, pixels at the model's scale; N may be 0.
        max_levels: Maximum number of levels; boxes larger than the last level's anchors are still matched to them.
        smallest: Side of the smallest anchor; None: chosen from the boxes.

    Returns:
        Stride of a pyramid level → sides of its square anchors, pixels at the model's scale: at least two levels, with
        strides that double, from 4 or more.
    """
    if not len(box_sides):
        box_sides = np.array([smallest or 16.0])
    low, high = np.quantile(box_sides, [0.25, 0.98])
    first = int(np.clip(2 ** np.floor(np.log2(max(low, 1) * 1.15 / 2)), 4, 32))
    shrink = float(np.clip(low / (2 * first), 0.6, 1.0))  # the finest stride is 4: below it, anchors shrink
    if smallest is not None:
        first = int(np.clip(2 ** np.floor(np.log2(smallest / 2)), 4, 32))
        shrink = smallest / (2 * first)
    strides = [first, first * 2]
    while len(strides) < max_levels and strides[-1] * 2 * shrink * 2 < high and strides[-1] < 64:
        strides.append(strides[-1] * 2)
    return {s: (round(2 * s * shrink, 1), round(2 * s * shrink * 2**0.5, 1)) for s in strides}


class TinyBackbone(nn.Module):
    """A ResNet with one block per stage, and a feature pyramid on the given strides."""

    out_channels = PYRAMID_CHANNELS

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.stem = nn.Sequential(
            nn.Conv2d(3, CHANNELS[2], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(CHANNELS[2]), nn.ReLU(True)
        )
        stages: dict[str, nn.Module] = {}
        stride = 2
        while stride < max(self.strides):
            stages[str(stride * 2)] = _residual_stage(CHANNELS[stride], CHANNELS[stride * 2])
            stride *= 2
        self.stages = nn.ModuleDict(stages)
        self.pyramid = FeaturePyramidNetwork([CHANNELS[s] for s in self.strides], PYRAMID_CHANNELS)

    def forward(self, images: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        """(B, 3, H, W) → stride → (B, 64, H / stride, W / stride)."""
        features: OrderedDict[str, torch.Tensor] = OrderedDict()
        x = self.stem(images)
        for stride, stage in self.stages.items():
            x = stage(x)
            if int(stride) in self.strides:
                features[stride] = x
        return self.pyramid(features)


def _residual_stage(in_channels: int, out_channels: int) -> nn.Module:
    projection = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
    shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))
    return BasicBlock(in_channels, out_channels, stride=2, downsample=shortcut)


class TinyHead(RetinaNetHead):
    """RetinaNet's head with one short tower shared by classes and boxes: a third of the work of two towers."""

    def __init__(self, num_anchors: int, num_classes: int) -> None:
        super().__init__(PYRAMID_CHANNELS, num_anchors, num_classes)
        self.classification_head.conv = nn.Sequential()
        self.regression_head.conv = nn.Sequential()
        norm_layer = partial(nn.GroupNorm, 8)
        self.tower = nn.Sequential(
            *(
                Conv2dNormActivation(PYRAMID_CHANNELS, PYRAMID_CHANNELS, norm_layer=norm_layer)
                for _ in range(HEAD_CONVOLUTIONS)
            )
        )

    def forward(self, x: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return super().forward([self.tower(level) for level in x])

    def compute_loss(
        self,
        targets: list[dict[str, torch.Tensor]],
        head_outputs: dict[str, torch.Tensor],
        anchors: list[torch.Tensor],
        matched_idxs: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Compute the losses as if the batch were one image, so that every colony has the same weight.

        RetinaNet averages over images: a colony on a plate of 200 would have a hundredth of the weight of one on a
        plate of two.
        """
        counts = [len(target["labels"]) for target in targets]
        shifted = [
            torch.where(matched >= 0, matched + sum(counts[:i]), matched) for i, matched in enumerate(matched_idxs)
        ]
        merged = {name: torch.cat([target[name] for target in targets]) for name in ("boxes", "labels")}
        outputs = {name: values.flatten(0, 1)[None] for name, values in head_outputs.items()}
        all_matched = torch.cat(shifted)
        losses = super().compute_loss([merged], outputs, [torch.cat(anchors)], [all_matched])
        weight = ranks.weigh(int((all_matched >= 0).sum())) if ranks.world_size() > 1 else 1.0
        return {name: loss * weight for name, loss in losses.items()}


def build_tiny(num_classes: int, anchor_sizes: AnchorSizes) -> RetinaNet:
    """Build the model with random weights.

    Args:
        num_classes: K, without a background class.
        anchor_sizes: As `fit_anchor_sizes` returns them.
    """
    sizes = tuple(anchor_sizes[stride] for stride in sorted(anchor_sizes))
    return RetinaNet(
        TinyBackbone(sorted(anchor_sizes)),
        num_classes,
        anchor_generator=AnchorGenerator(sizes, ((1.0,),) * len(sizes)),
        head=TinyHead(len(sizes[0]), num_classes),
    )


class TinyFamily(RetinaNetFamily):
    """The tiny detector, which weights the losses of ranks by colonies."""

    weighs_ranks = True

    def fit_anchors(self, box_sides: np.ndarray, smallest: float | None) -> AnchorSizes:
        return fit_anchor_sizes(box_sides, smallest=smallest)

    def _build_plain(self, spec: DetectorSpec, weights_backbone: str | None) -> Any:  # noqa: ARG002
        return build_tiny(spec.num_classes, spec.anchor_sizes)
