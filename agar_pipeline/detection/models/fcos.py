"""The family of FCOS: one stage without anchors; classes count from 0."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.models.detection import FCOS

from agar_pipeline.detection.models.candidate_boxes import best_left_out
from agar_pipeline.detection.models.family import with_left_out
from agar_pipeline.detection.models.torchvision_family import TorchvisionFamily


class FCOSFamily(TorchvisionFamily):
    """FCOS."""

    label_shift = 1

    def report_left_out(self, model: Any) -> None:
        model.__class__ = _FCOS


class _FCOS(FCOS):
    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        levels = zip(head_outputs["cls_logits"], head_outputs["bbox_ctrness"], strict=True)
        scores = [torch.sqrt(logits.sigmoid() * centred.sigmoid()).flatten(1) for logits, centred in levels]
        left_out = best_left_out(scores, self.score_thresh, self.topk_candidates)
        return with_left_out(super().postprocess_detections(head_outputs, anchors, image_shapes), left_out)
