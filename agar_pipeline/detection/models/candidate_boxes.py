"""Reports the candidates that torchvision's detectors cut off before NMS without saying so.

RetinaNet and FCOS keep the best `topk_candidates` of each pyramid level, SSD those of each class. Faster R-CNN's second
head gets only the best proposals of each level and of all levels. Here each image's answer gets one more entry,
`left_out`. Not here: how it is used (`detector`, `inference.batches`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD

NOTHING = -1.0
OBJECTNESS_FLOOR = 0.1
"""A proposal below this objectness counts as background.

Objectness is not the score of a detection, so this value is a choice: after 70 steps from scratch, 98 % of the
proposals with a score of 0.3 or more in the second head had an objectness of 0.19 or more.
"""


def report_left_out(model: nn.Module) -> None:
    """Make a detector add `left_out` to each image's answer: the best score that was cut off before NMS.

    It is a number on the detector's device: 1 if the score is not known, -1 if no candidate above the score floor was
    cut off. The cost is a count over the scores, and one transfer from the device per batch.
    """
    for plain, reporting in ((RetinaNet, _RetinaNet), (FCOS, _FCOS), (SSD, _SSD), (FasterRCNN, _FasterRCNN)):
        if type(model) is plain:
            model.__class__ = reporting  # a bound method in its place would be shared by copies of the model
    if isinstance(model, FasterRCNN):
        model.rpn.__class__ = _Proposals


def best_left_out(groups: Sequence[torch.Tensor], floor: float, most: int) -> torch.Tensor:
    """(N,) the best score above the floor that is not among the `most` best of its group, or -1.

    Args:
        groups: For each group, (N, candidates) scores of N images.
        floor: Scores up to this value do not count.
        most: Number of candidates that are kept per group.
    """
    if not torch.jit.is_tracing():  # type: ignore[attr-defined]  # no branches in a traced graph
        fullest = torch.stack([(scores > floor).sum(1).amax() for scores in groups]).amax()
        if int(fullest) <= most:
            return groups[0].new_full((len(groups[0]),), NOTHING)
    best = [pad(scores, (0, most + 1), value=NOTHING).topk(most + 1).values[:, -1] for scores in groups]
    found = torch.stack(best).amax(0)
    return torch.where(found > floor, found, torch.full_like(found, NOTHING))


def _with(answers: list[dict[str, torch.Tensor]], left_out: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    return [{**answer, "left_out": left_out[image]} for image, answer in enumerate(answers)]


class _RetinaNet(RetinaNet):
    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        scores = [logits.sigmoid().flatten(1) for logits in head_outputs["cls_logits"]]
        left_out = best_left_out(scores, self.score_thresh, self.topk_candidates)
        return _with(super().postprocess_detections(head_outputs, anchors, image_shapes), left_out)


class _FCOS(FCOS):
    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        levels = zip(head_outputs["cls_logits"], head_outputs["bbox_ctrness"], strict=True)
        scores = [torch.sqrt(logits.sigmoid() * centred.sigmoid()).flatten(1) for logits, centred in levels]
        left_out = best_left_out(scores, self.score_thresh, self.topk_candidates)
        return _with(super().postprocess_detections(head_outputs, anchors, image_shapes), left_out)


class _SSD(SSD):
    def postprocess_detections(self, head_outputs: Any, image_anchors: Any, image_shapes: Any) -> Any:
        scores = head_outputs["cls_logits"].softmax(-1)[..., 1:]
        left_out = best_left_out(scores.unbind(-1), self.score_thresh, self.topk_candidates)
        return _with(super().postprocess_detections(head_outputs, image_anchors, image_shapes), left_out)


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
        return answers if self.training else _with(answers, self.rpn.left_out)
