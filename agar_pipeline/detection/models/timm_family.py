"""RetinaNet and Faster R-CNN on a backbone of timm.

Levels of the pyramid and anchors follow the sizes of the colonies, as those of `tiny` do: the finest stride is half of
the smallest anchor, and 4 at least. Heads and losses are torchvision's. Not here: the backbone and its pyramid
(`timm_backbone`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import MultiScaleRoIAlign

from agar_pipeline.config import ModelConfig
from agar_pipeline.detection.models.family import AnchorSizes, Family
from agar_pipeline.detection.models.faster_rcnn import FasterRCNNFamily
from agar_pipeline.detection.models.retinanet import RetinaNetFamily
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.timm_backbone import PYRAMID_CHANNELS, TimmBackbone, build_pyramid
from agar_pipeline.detection.models.tiny import fit_anchor_sizes

MOST_LEVELS = 4
"""Of the pyramid; `tiny` has up to 3. The fourth is added only if colonies differ so much in size."""
NORM_GROUPS = 32
"""Groups of the GroupNorms of RetinaNet's head, as in torchvision's retinanet_resnet50_fpn_v2."""
ROI_SIDE = 7
ROI_SAMPLES = 2
"""Side of the features of a proposal, and samples per cell: torchvision's values for Faster R-CNN."""


class _OnTimm(Family):
    """What both families choose: anchors as `tiny` has them, and the backbone by its name."""

    def fit_anchors(self, box_sides: np.ndarray, smallest: float | None) -> AnchorSizes:
        return fit_anchor_sizes(box_sides, MOST_LEVELS, smallest)

    def find_architecture(self, model: ModelConfig) -> dict[str, Any] | None:
        assert model.backbone is not None
        return TimmBackbone.find(model.backbone).to_plain()


class RetinaNetOnTimm(_OnTimm, RetinaNetFamily):
    """RetinaNet; its head has GroupNorms, because batches are small."""

    def _build_plain(self, spec: DetectorSpec, weights_backbone: str | None) -> Any:
        backbone, anchors = _backbone_of(spec), _anchors(spec)
        norm = partial(nn.GroupNorm, NORM_GROUPS)
        return RetinaNet(
            build_pyramid(backbone, sorted(spec.anchor_sizes), weights_backbone),
            spec.num_classes,
            anchor_generator=anchors,
            head=RetinaNetHead(PYRAMID_CHANNELS, anchors.num_anchors_per_location()[0], spec.num_classes, norm),
            image_mean=backbone.mean,
            image_std=backbone.std,
        )


class FasterRCNNOnTimm(_OnTimm, FasterRCNNFamily):
    """Faster R-CNN."""

    def _build_plain(self, spec: DetectorSpec, weights_backbone: str | None) -> Any:
        backbone, strides = _backbone_of(spec), sorted(spec.anchor_sizes)
        return FasterRCNN(
            build_pyramid(backbone, strides, weights_backbone),
            spec.num_classes + 1,
            rpn_anchor_generator=_anchors(spec),
            box_roi_pool=MultiScaleRoIAlign([str(stride) for stride in strides], ROI_SIDE, ROI_SAMPLES),
            image_mean=backbone.mean,
            image_std=backbone.std,
            **self.limits_in_training(spec.detections_per_image),
        )


def _backbone_of(spec: DetectorSpec) -> TimmBackbone:
    assert spec.architecture is not None
    return TimmBackbone(**spec.architecture)


def _anchors(spec: DetectorSpec) -> AnchorGenerator:
    sizes = tuple(tuple(sides) for _, sides in sorted(spec.anchor_sizes.items()))
    return AnchorGenerator(sizes, ((1.0,),) * len(sizes))
