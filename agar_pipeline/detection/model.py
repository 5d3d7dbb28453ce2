"""Detectors by name, all with the same face: uint8 images in, labels 1…K and pixels of those images out.

Here: building from a plain spec, and what differs between torchvision's families. Not here: pretrained weights
(`weights`), the tiny detector's inside (`tiny`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from agar_pipeline.config import ModelConfig
from agar_pipeline.detection.tiny import build_tiny, fit_anchor_sizes
from agar_pipeline.errors import ConfigError

LEAST_CAP = 300


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector is built from: plain values, kept in every checkpoint."""

    name: str
    num_classes: int
    """K, without a background class."""
    input_size: int
    """Longer side of the images, pixels."""
    detections_per_image: int
    """The cap; a prediction that reaches it may have lost detections."""
    score_floor: float
    anchor_sizes: dict[int, tuple[float, ...]]
    """Of `tiny`: stride → sides; of Faster R-CNN and RetinaNet: the smallest side under the key 0; else empty."""

    def to_plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DetectorSpec:
        sizes = {int(stride): tuple(sides) for stride, sides in plain["anchor_sizes"].items()}
        return cls(**{**plain, "anchor_sizes": sizes})


def known_models() -> list[str]:
    """`tiny` and torchvision's detectors of boxes; those of masks and keypoints need more than boxes."""
    names = torchvision.models.list_models(module=torchvision.models.detection)
    return ["tiny", *(name for name in names if not name.startswith(("maskrcnn", "keypointrcnn")))]


def _require_known(name: str) -> None:
    if name not in known_models():
        raise ConfigError(f"model.name {name!r} is not a detector of boxes; there are: {', '.join(known_models())}")


def make_spec(
    model: ModelConfig, num_classes: int, input_size: int, box_sides: np.ndarray, most_boxes: int
) -> DetectorSpec:
    """Fit anchors and caps to the data.

    Args:
        model: Its name and score floor count.
        num_classes: K.
        input_size: Longer side of the images, pixels.
        box_sides: (N,) square roots of the boxes' areas, pixels at the model's scale.
        most_boxes: Boxes in the fullest image of the data.

    Raises:
        ConfigError: no such model.
    """
    _require_known(model.name)
    if model.name == "tiny":
        anchor_sizes = fit_anchor_sizes(box_sides)
    elif model.name.startswith(("fasterrcnn", "retinanet")) and len(box_sides):
        anchor_sizes = {0: (round(float(np.clip(np.quantile(box_sides, 0.1), 8, 32)), 1),)}
    else:
        anchor_sizes = {}
    cap = max(LEAST_CAP, -(-2 * most_boxes // 100) * 100)  # twice the fullest image, in whole hundreds
    return DetectorSpec(model.name, num_classes, input_size, cap, model.score_floor, anchor_sizes)


def build_detector(spec: DetectorSpec, weights_backbone: str | None = None) -> Detector:
    """The detector with random weights, or with those of a backbone. Nothing is downloaded unless a backbone is named.

    Raises:
        ConfigError: no such model, or it cannot work at this input size.
    """
    _require_known(spec.name)
    if spec.name.startswith("ssd300") and spec.input_size < 300:
        raise ConfigError(f"data.input_size {spec.input_size} is too small for {spec.name}: give 300 or more")
    limits = _limits(spec)
    if spec.name == "tiny":
        tiny = build_tiny(spec.num_classes, spec.anchor_sizes, **limits)
        return Detector(tiny, has_background=False, cap=spec.detections_per_image)
    has_background = not spec.name.startswith(("fcos", "retinanet"))
    model = torchvision.models.get_model(
        spec.name,
        weights=None,
        weights_backbone=weights_backbone,
        num_classes=spec.num_classes + has_background,
        **limits,
    )
    _fit_anchors(model, spec)
    return Detector(model, has_background, spec.detections_per_image)


def _limits(spec: DetectorSpec) -> dict[str, Any]:
    """Thresholds and caps in each family's words. Candidates before NMS are several to a colony."""
    cap = spec.detections_per_image
    if not spec.name.startswith("fasterrcnn"):
        candidates = max(1000, 4 * cap)
        return {"score_thresh": spec.score_floor, "detections_per_img": cap, "topk_candidates": candidates}
    proposals = max(2000, 3 * cap)
    return {
        "box_score_thresh": spec.score_floor,
        "box_detections_per_img": cap,
        "rpn_pre_nms_top_n_train": proposals,
        "rpn_post_nms_top_n_train": proposals,
        "rpn_pre_nms_top_n_test": max(1000, 3 * cap),
        "rpn_post_nms_top_n_test": max(1000, 3 * cap),
    }


def _fit_anchors(model: nn.Module, spec: DetectorSpec) -> None:
    """Shrink the anchors (32 px at least by default) to the data's boxes; their number, so every weight, stays."""
    if 0 not in spec.anchor_sizes:
        return
    owner: Any = model.rpn if isinstance(model, FasterRCNN) else model
    defaults = owner.anchor_generator
    factor = spec.anchor_sizes[0][0] / min(defaults.sizes[0])
    sizes = tuple(tuple(side * factor for side in sides) for sides in defaults.sizes)
    owner.anchor_generator = AnchorGenerator(sizes, defaults.aspect_ratios)


class KeepScale(GeneralizedRCNNTransform):
    """Normalizes and pads, never resizes: images come at the model's scale. (`_skip_resize` holds in training only.)"""

    def resize(self, image: torch.Tensor, target: Any = None) -> tuple[torch.Tensor, Any]:
        return image, target


class Detector(nn.Module):
    """A torchvision detector behind one convention.

    Images are (3, H, W) uint8; targets hold `boxes` (N, 4) xyxy in pixels and `labels` (N,) in 1…K. In training it
    answers with its losses; otherwise, per image, with `boxes`, `labels` in 1…K and `scores`, best first. FCOS and
    RetinaNet count classes from 0, Faster R-CNN and SSD keep 0 for the background: that stays inside.
    """

    def __init__(self, model: FasterRCNN | FCOS | RetinaNet | SSD, has_background: bool, cap: int) -> None:
        super().__init__()
        old = model.transform
        model.transform = KeepScale(0, 0, old.image_mean, old.image_std, size_divisible=old.size_divisible)
        self.model = model
        self.label_shift = 0 if has_background else 1
        self.detections_per_image = cap
        self.frozen_batch_norm = False
        """Keep the running statistics of pretrained weights: batches of a few plates are too small for new ones."""

    def set_limits(self, cap: int, score_floor: float | None = None) -> None:
        """Let an image have up to `cap` detections, more candidates before NMS, and scores down to `score_floor`."""
        self.detections_per_image = cap
        limited: Any = self.model
        if isinstance(self.model, FasterRCNN):
            limited = self.model.roi_heads
            self.model.rpn._pre_nms_top_n["testing"] = self.model.rpn._post_nms_top_n["testing"] = 3 * cap
        else:
            limited.topk_candidates = 4 * cap
        limited.detections_per_img = cap
        limited.score_thresh = limited.score_thresh if score_floor is None else score_floor

    def train(self, mode: bool = True) -> Detector:
        super().train(mode)
        if self.frozen_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: list[torch.Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        floats = [image.float() / 255 for image in images]
        if self.training:
            assert targets is not None
            inner = [{"boxes": t["boxes"], "labels": t["labels"] - self.label_shift} for t in targets]
            return self.model(floats, inner)
        detections = self.model(floats)
        return [{**d, "labels": d["labels"] + self.label_shift} for d in detections]
