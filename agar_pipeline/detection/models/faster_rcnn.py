"""The family of Faster R-CNN: its second head gets the proposals of the first.

Only the best proposals of each pyramid level, and of all levels, reach the second head. The scores that it
would give the others are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import RegionProposalNetwork

from agar_pipeline.detection.models.family import AnchorSizes, with_left_out
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.torchvision_family import (
    TorchvisionFamily,
    choose_smallest_anchor,
    scale_anchors,
)

MOST_PROPOSALS = 24_000
"""Maximum number of proposals for one photo in prediction.

Each takes 50 kB in the second head, and an untrained head uses as many proposals as it may have.
"""
OBJECTNESS_FLOOR = 0.1
"""A proposal below this objectness counts as background.

Objectness is not the score of a detection, so this value is a choice: after 70 steps from scratch, 98 % of the
proposals with a score of 0.3 or more in the second head had an objectness of 0.19 or more.
"""


class FasterRCNNFamily(TorchvisionFamily):
    """Faster R-CNN."""

    has_anchors = True
    candidates_are_costly = True

    def fit_anchors(self, box_sides: np.ndarray, smallest: float | None) -> AnchorSizes:
        return choose_smallest_anchor(box_sides, smallest)

    def set_limits(self, model: Any, cap: int, score_floor: float | None = None) -> None:
        limited, proposals = model.roi_heads, min(max(1000, 3 * cap), MOST_PROPOSALS)
        model.rpn._pre_nms_top_n["testing"] = model.rpn._post_nms_top_n["testing"] = proposals
        limited.detections_per_img = cap
        limited.score_thresh = limited.score_thresh if score_floor is None else score_floor

    def limits_in_training(self, cap: int) -> dict[str, int]:
        proposals = max(2000, 3 * cap)
        return {"rpn_pre_nms_top_n_train": proposals, "rpn_post_nms_top_n_train": proposals}

    def heads(self, model: Any) -> Sequence[nn.Module]:
        return [model.rpn.head, model.roi_heads.box_predictor]

    def report_left_out(self, model: Any) -> None:
        model.__class__ = _FasterRCNN
        model.rpn.__class__ = _Proposals

    def _build_plain(self, spec: DetectorSpec, weights_backbone: str | None) -> Any:
        model = super()._build_plain(spec, weights_backbone)
        scale_anchors(model.rpn, spec.anchor_sizes)
        return model


class _Proposals(RegionProposalNetwork):
    left_out: torch.Tensor
    """(N,) for the last images: 1 if proposals were cut off (their score in the second head is not known), else -1."""

    def filter_proposals(
        self, proposals: torch.Tensor, objectness: torch.Tensor, image_shapes: Any, num_anchors_per_level: list[int]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        boxes, kept = super().filter_proposals(proposals, objectness, image_shapes, num_anchors_per_level)
        if not self.training:
            levels = objectness.reshape(len(kept), -1).sigmoid().split(num_anchors_per_level, 1)
            counts = torch.stack([(level >= OBJECTNESS_FLOOR).sum(1) for level in levels]).amax(0)
            counts_after_nms = torch.stack([(scores >= OBJECTNESS_FLOOR).sum() for scores in kept])
            cut = (counts > self.pre_nms_top_n()) | (counts_after_nms >= self.post_nms_top_n())
            self.left_out = 2.0 * cut.float() - 1
        return boxes, kept


class _FasterRCNN(FasterRCNN):
    def forward(self, images: Any, targets: Any = None) -> Any:
        answers = super().forward(images, targets)
        return answers if self.training else with_left_out(answers, self.rpn.left_out)
