"""The common interface of all detectors: uint8 images in; labels 1…K and boxes in pixels of those images out.

Here: what all detectors share, whole plates and tiles. Not here: building, and the differences between families
(`families`, `family`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.candidate_boxes import NOTHING
from agar_pipeline.detection.models.families import build_model, family_of
from agar_pipeline.detection.models.family import Family
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.tile_merge import merge_tiles
from agar_pipeline.detection.models.tiles import TileGrid

TILES_AT_ONCE = 4


def build_detector(spec: DetectorSpec, weights_backbone: str | None = None) -> Detector:
    """Build the detector with random weights, or with the weights of a backbone.

    Nothing is downloaded unless a backbone is named.

    Raises:
        ConfigError: there is no such model, or it cannot work at this input size.
    """
    return Detector(build_model(spec, weights_backbone), family_of(spec.name), spec)


def is_untouched(norm: nn.BatchNorm2d) -> bool:
    """Whether the running statistics still have the initial values of a BatchNorm."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    return bool((mean == 0).all() and (variance == 1).all())


class Detector(nn.Module):
    """A model of any family with one convention for images, targets and answers.

    Images are (3, H, W) uint8; targets contain `boxes` (N, 4) xyxy in pixels and `labels` (N,) in 1…K. In training it
    returns its losses. Otherwise it returns, per image, `boxes`, `labels` in 1…K, `scores`, and `cut_at`: the score
    below which detections may have been lost to a limit, either on detections or on candidates before NMS
    (`candidate_boxes`); None if none was lost. Some families count classes from 0, others reserve 0 for the background;
    this difference is hidden here. Tiles are hidden too: for a whole plate it returns the boxes of the whole plate.
    """

    def __init__(self, model: nn.Module, family: Family, spec: DetectorSpec) -> None:
        super().__init__()
        self.model: Any = model
        self.family = family
        self.score_floor = spec.score_floor
        self.detections_per_image = spec.detections_per_image
        self.tile_side, self.tile_overlap = spec.input_size, spec.tile_overlap
        self.fresh: list[str] = []
        """Tensors of the head that keep their random start, because the given weights belong to other classes."""
        self.frozen_batch_norms: frozenset[str] = frozenset()
        """BatchNorms that keep the running statistics of pretrained weights.

        Batches of a few plates are too small for new statistics.
        """

    def set_limits(self, cap: int, score_floor: float | None = None) -> None:
        """Allow up to `cap` detections per image, more candidates before NMS, and scores down to `score_floor`."""
        self.detections_per_image = cap
        self.score_floor = self.score_floor if score_floor is None else score_floor
        self.family.set_limits(self.model, cap, score_floor)

    def train(self, mode: bool = True) -> Detector:
        super().train(mode)
        for name in self.frozen_batch_norms:
            self.get_submodule(name).eval()
        return self

    def freeze_loaded_batch_norms(self) -> None:
        """Freeze each BatchNorm whose statistics were loaded.

        A BatchNorm at mean 0 and variance 1 has no statistics yet, such as those of the pyramid and the head next to a
        pretrained backbone; it is trained.
        """
        self.frozen_batch_norms = frozenset(
            name
            for name, module in self.named_modules()
            if isinstance(module, nn.BatchNorm2d) and not is_untouched(module)
        )

    def forward(self, images: list[torch.Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        if self.training:
            assert targets is not None
            inner = [{"boxes": t["boxes"], "labels": t["labels"] - self.family.label_shift} for t in targets]
            losses = self.model(images, inner)
            if self.family.weighs_ranks or ranks.world_size() == 1:
                return losses
            weight = ranks.weigh(len(images))  # the ranks' shares of a batch may differ by one image
            return {name: loss * weight for name, loss in losses.items()}
        if self.tile_overlap is None:
            return self._detect(images)
        return [self._detect_in_tiles(image) for image in images]

    def _detect(self, images: list[torch.Tensor]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = self.model(images)
        before_nms = torch.stack([found.pop("left_out") for found in answers]).tolist()
        for found, left_out in zip(answers, before_nms, strict=True):
            found["labels"] = found["labels"] + self.family.label_shift
            is_full = len(found["scores"]) >= self.detections_per_image
            cut_at = max(left_out, float(found["scores"].min()) if is_full else NOTHING)
            found["cut_at"] = None if cut_at == NOTHING else cut_at
        return answers

    def _detect_in_tiles(self, image: torch.Tensor) -> dict[str, Any]:
        assert self.tile_overlap is not None
        grid = TileGrid.over((image.shape[2], image.shape[1]), self.tile_side, self.tile_overlap)
        crops = [image[:, top:bottom, left:right] for left, top, right, bottom in grid.tiles_xyxy.tolist()]
        seen: list[dict[str, Any]] = []
        for start in range(0, len(crops), TILES_AT_ONCE):
            seen += self._detect(crops[start : start + TILES_AT_ONCE])
        tile_index = np.repeat(np.arange(len(seen)), [len(found["scores"]) for found in seen])
        corners = np.tile(grid.tiles_xyxy[tile_index, :2], 2)
        boxes = torch.cat([found["boxes"] for found in seen]).cpu().double().numpy() + corners
        labels, scores = (torch.cat([found[name] for found in seen]) for name in ("labels", "scores"))
        kept = merge_tiles(grid, tile_index, boxes, labels.cpu().numpy(), scores.cpu().double().numpy())
        rows = torch.from_numpy(kept).to(labels.device)
        return {
            "boxes": torch.from_numpy(boxes[kept]).float().to(labels.device),
            "labels": labels[rows],
            "scores": scores[rows],
            "cut_at": max((found["cut_at"] for found in seen if found["cut_at"] is not None), default=None),
        }
