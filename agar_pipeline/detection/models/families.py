"""Builds torchvision's detectors and `tiny` from one plain spec, whatever parameter names each family uses.

Here: the spec, building with random or backbone weights, limits. Not here: choosing a spec for some data
(`model_fitting`), pretrained detectors (`weights`), the common interface (`detector`), the layers of the tiny detector
(`tiny`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from urllib.error import URLError

import torchvision
from torch import nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor
from torchvision.ops import FrozenBatchNorm2d

from agar_pipeline.config import find_unknown_name
from agar_pipeline.detection.models.tiny import build_tiny
from agar_pipeline.errors import ConfigError

BoxModel: TypeAlias = FasterRCNN | FCOS | RetinaNet | SSD
SSDLITE = "ssdlite320_mobilenet_v3_large"
MOST_PROPOSALS = 24_000
"""Maximum number of proposals for one photo in prediction.

Each takes 50 kB in the second head, and an untrained head uses as many proposals as it may have.
"""
FROZEN_NORMS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
)
"""Models whose backbone torchvision builds with frozen BatchNorms if its weights are pretrained."""
ALL_STAGES = 6
"""Number of trainable stages of SSDlite's backbone: none is frozen."""


@dataclass(frozen=True)
class DetectorSpec:
    """Plain values from which a detector is built; every checkpoint contains them."""

    name: str
    num_classes: int
    """K, without a background class."""
    input_size: int
    """Longer side of the images that the model was trained on, pixels: a whole plate, or a crop of it."""
    detections_per_image: int
    """Maximum number of detections; an image that reaches it may have lost detections."""
    score_floor: float
    anchor_sizes: dict[int, tuple[float, ...]]
    """For `tiny`: stride → sides. For Faster R-CNN and RetinaNet: the smallest side under the key 0. Else empty."""
    tile_overlap: int | None = None
    """None: plates are predicted in one pass. Else: in tiles of side `input_size` with this overlap, pixels."""
    pretrained_backbone: bool = False
    """Whether training started from pretrained backbone weights; torchvision then builds some layers differently."""
    photo_side: int | None = None
    """Side to which photos are scaled before crops or tiles are cut from them, pixels.

    None: whole plates are scaled to `input_size`, and tiles are cut from photos at their own size.
    """

    @property
    def image_side(self) -> int | None:
        """Side to which photos are scaled; None: they keep their size."""
        whole = self.input_size if self.tile_overlap is None else None
        return whole if self.photo_side is None else self.photo_side

    def to_plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DetectorSpec:
        sizes = {int(stride): tuple(sides) for stride, sides in plain["anchor_sizes"].items()}
        return cls(**{**plain, "anchor_sizes": sizes})


def require_known(name: str) -> None:
    """Check that there is a model of this name.

    Raises:
        ConfigError: there is none; the message names the most similar one.
    """
    if unknown := find_unknown_name(name):
        raise ConfigError(
            unknown.what, where=f"model.{unknown.where}", value=unknown.value, next_step=unknown.next_step
        )


def build_model(spec: DetectorSpec, weights_backbone: str | None = None) -> BoxModel:
    """Build the model with random weights, or with the weights of a backbone.

    Nothing is downloaded unless a backbone is named.

    Raises:
        ConfigError: there is no such model, or it cannot work at this input size.
    """
    require_known(spec.name)
    if spec.name.startswith("ssd300") and spec.input_size < 300:
        raise ConfigError(
            f"is too small for {spec.name}",
            where="data.input_size",
            value=spec.input_size,
            next_step="set 300 or more",
        )
    model: Any
    if spec.name == "tiny":
        model = build_tiny(spec.num_classes, spec.anchor_sizes)
    else:
        model = _build_torchvision(spec, weights_backbone)
        _fit_anchors(model, spec)
    set_limits(model, spec.detections_per_image, spec.score_floor)
    return model


def has_background(name: str) -> bool:
    """Whether class 0 of the detector is the background."""
    return name != "tiny" and not name.startswith(("fcos", "retinanet"))


def _build_torchvision(spec: DetectorSpec, weights_backbone: str | None) -> nn.Module:
    limits = {}
    if spec.name.startswith("fasterrcnn"):
        proposals = max(2000, 3 * spec.detections_per_image)
        limits = {"rpn_pre_nms_top_n_train": proposals, "rpn_post_nms_top_n_train": proposals}
    classes = spec.num_classes + has_background(spec.name)
    build = partial(torchvision.models.get_model, spec.name, weights=None, num_classes=classes, **limits)
    try:
        model: nn.Module = build(weights_backbone=weights_backbone)
    except URLError as error:
        raise ConfigError(
            f"could not be downloaded for {spec.name} ({error})",
            where="model.weights_backbone",
            value=weights_backbone,
            next_step="set model.weights_backbone=null, and model.weights to the path of a whole state dict or to null",
        ) from error
    if spec.pretrained_backbone and weights_backbone is None:
        _build_as_if_pretrained(model, spec.name, classes)
    return model


def _build_as_if_pretrained(model: Any, name: str, classes: int) -> None:
    """Give a model with random weights the layers that torchvision builds for a pretrained backbone."""
    if name == SSDLITE:
        _widen_tail(model, classes)
    elif name in FROZEN_NORMS:
        _freeze_norms(model.backbone.body)


def _freeze_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, child.eps))
        else:
            _freeze_norms(child)


def _widen_tail(model: Any, classes: int) -> None:
    """Rebuild SSDlite at full width: without weights, torchvision halves the width of its last blocks."""
    norm_layer = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    backbone = mobilenet_v3_large(weights=None, norm_layer=norm_layer, reduced_tail=False)
    model.backbone = _mobilenet_extractor(backbone, ALL_STAGES, norm_layer)
    channels = retrieve_out_channels(model.backbone, (320, 320))
    anchors = model.anchor_generator.num_anchors_per_location()
    model.head = SSDLiteHead(channels, anchors, classes, norm_layer)


def set_limits(model: BoxModel, cap: int, score_floor: float | None = None) -> None:
    """Set the maximum number of detections per image, and the minimum score (None: unchanged).

    The limit of candidates before NMS is a multiple of `cap`, because a colony has several candidates.
    """
    limited: Any = model
    if isinstance(model, FasterRCNN):
        limited, rpn, proposals = model.roi_heads, model.rpn, min(max(1000, 3 * cap), MOST_PROPOSALS)
        rpn._pre_nms_top_n["testing"] = rpn._post_nms_top_n["testing"] = proposals
    else:
        limited.topk_candidates = max(1000, 4 * cap)
    limited.detections_per_img = cap
    limited.score_thresh = limited.score_thresh if score_floor is None else score_floor


def _fit_anchors(model: nn.Module, spec: DetectorSpec) -> None:
    """Scale the anchors (32 px or more by default) to the data's boxes. Their number, and so every weight, stays the
    same.
    """
    if 0 not in spec.anchor_sizes:
        return
    owner: Any = model.rpn if isinstance(model, FasterRCNN) else model
    defaults = owner.anchor_generator
    factor = spec.anchor_sizes[0][0] / min(defaults.sizes[0])
    sizes = tuple(tuple(side * factor for side in sides) for sides in defaults.sizes)
    owner.anchor_generator = AnchorGenerator(sizes, defaults.aspect_ratios)
