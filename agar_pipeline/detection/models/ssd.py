"""The family of SSD and SSDlite: one stage with default boxes; class 0 is the background."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor

from agar_pipeline.detection.models.candidate_boxes import best_left_out
from agar_pipeline.detection.models.family import with_left_out
from agar_pipeline.detection.models.torchvision_family import TorchvisionFamily

ALL_STAGES = 6
"""Number of trainable stages of SSDlite's backbone: none is frozen."""


class SSDFamily(TorchvisionFamily):
    """SSD."""

    def report_left_out(self, model: Any) -> None:
        model.__class__ = _SSD


class SSDLiteFamily(SSDFamily):
    """SSDlite."""

    def build_as_if_pretrained(self, model: Any, name: str, num_classes: int) -> None:  # noqa: ARG002
        """Rebuild it at full width: without weights, torchvision halves the width of its last blocks."""
        norm_layer = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
        backbone = mobilenet_v3_large(weights=None, norm_layer=norm_layer, reduced_tail=False)
        model.backbone = _mobilenet_extractor(backbone, ALL_STAGES, norm_layer)
        channels = retrieve_out_channels(model.backbone, (320, 320))
        anchors = model.anchor_generator.num_anchors_per_location()
        model.head = SSDLiteHead(channels, anchors, num_classes, norm_layer)


class _SSD(SSD):
    def postprocess_detections(self, head_outputs: Any, image_anchors: Any, image_shapes: Any) -> Any:
        scores = head_outputs["cls_logits"].softmax(-1)[..., 1:]
        left_out = best_left_out(scores.unbind(-1), self.score_thresh, self.topk_candidates)
        return with_left_out(super().postprocess_detections(head_outputs, image_anchors, image_shapes), left_out)
