"""The family of RetinaNet: one stage with anchors; classes count from 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from torchvision.models.detection import RetinaNet

from agar_pipeline.detection.models.candidate_boxes import best_left_out
from agar_pipeline.detection.models.family import AnchorSizes, with_left_out
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.torchvision_family import (
    TorchvisionFamily,
    choose_smallest_anchor,
    scale_anchors,
)


class RetinaNetFamily(TorchvisionFamily):
    """RetinaNet."""

    label_shift = 1
    has_anchors = True

    def fit_anchors(self, box_sides: np.ndarray, smallest: float | None) -> AnchorSizes:
        return choose_smallest_anchor(box_sides, smallest)

    def report_left_out(self, model: Any) -> None:
        model.__class__ = _RetinaNet

    def _build_plain(self, spec: DetectorSpec, weights_backbone: str | None) -> Any:
        model = super()._build_plain(spec, weights_backbone)
        scale_anchors(model, spec.anchor_sizes)
        return model


class _RetinaNet(RetinaNet):
    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        scores = [logits.sigmoid().flatten(1) for logits in head_outputs["cls_logits"]]
        left_out = best_left_out(scores, self.score_thresh, self.topk_candidates)
        return with_left_out(super().postprocess_detections(head_outputs, anchors, image_shapes), left_out)
