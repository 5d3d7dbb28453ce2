"""torchvision's detectors of boxes, and `tiny`, from a plain spec: each family's own words for the same things.

Here: the spec, building with random or backbone weights, limits. Not here: what a spec says for some data
(`model_fitting`), pretrained detectors (`weights`), one face for all (`detector`), the tiny detector's inside
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
"""Of one photo in prediction: each takes 50 kB in the second head, and a new head asks for as many as it may have."""
FROZEN_NORMS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
)
"""Whose backbone has them beside pretrained weights."""
ALL_STAGES = 6
"""Of SSDlite's backbone: none is frozen."""


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector is built from: plain values, kept in every checkpoint."""

    name: str
    num_classes: int
    """K, without a background class."""
    input_size: int
    """Longer side of what the model was trained on, pixels: a whole plate, or a crop of it."""
    detections_per_image: int
    """The cap; a prediction that reaches it may have lost detections."""
    score_floor: float
    anchor_sizes: dict[int, tuple[float, ...]]
    """Of `tiny`: stride → sides; of Faster R-CNN and RetinaNet: the smallest side under the key 0; else empty."""
    tile_overlap: int | None = None
    """None: plates are predicted in one pass; else in tiles of side `input_size`."""
    pretrained_backbone: bool = False
    """It began from the weights of a backbone: torchvision builds some layers in another way then."""
    photo_side: int | None = None
    """What photos are scaled to before crops or tiles are cut from them, pixels; None: whole plates are scaled to
    `input_size`, tiles are cut from photos as they are."""

    @property
    def image_side(self) -> int | None:
        """What photos are scaled to; None: they keep their size."""
        whole = self.input_size if self.tile_overlap is None else None
        return whole if self.photo_side is None else self.photo_side

    def to_plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DetectorSpec:
        sizes = {int(stride): tuple(sides) for stride, sides in plain["anchor_sizes"].items()}
        return cls(**{**plain, "anchor_sizes": sizes})


def require_known(name: str) -> None:
    """Raises ConfigError where there is no such model, naming the nearest."""
    if unknown := find_unknown_name(name):
        raise ConfigError(unknown)


def build_model(spec: DetectorSpec, weights_backbone: str | None = None) -> BoxModel:
    """The model with random weights, or with those of a backbone. Nothing is downloaded unless a backbone is named.

    Raises:
        ConfigError: no such model, or it cannot work at this input size.
    """
    require_known(spec.name)
    if spec.name.startswith("ssd300") and spec.input_size < 300:
        raise ConfigError(f"data.input_size {spec.input_size} is too small for {spec.name}: give 300 or more")
    model: Any
    if spec.name == "tiny":
        model = build_tiny(spec.num_classes, spec.anchor_sizes)
    else:
        model = _build_torchvision(spec, weights_backbone)
        _fit_anchors(model, spec)
    set_limits(model, spec.detections_per_image, spec.score_floor)
    return model


def has_background(name: str) -> bool:
    """Whether the classes of a detector begin with one for the background."""
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
            f"model.weights_backbone {weights_backbone} of {spec.name} could not be downloaded ({error})\n"
            "give the path of a whole state dict as model.weights, or set model.weights_backbone=null"
        ) from error
    if spec.pretrained_backbone and weights_backbone is None:
        _build_as_if_pretrained(model, spec.name, classes)
    return model


def _build_as_if_pretrained(model: Any, name: str, classes: int) -> None:
    """Give a model with random weights the layers that torchvision's builder gives one whose backbone has weights."""
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
    """Of SSDlite, whose last blocks have half the width where no weights are given."""
    norm_layer = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    backbone = mobilenet_v3_large(weights=None, norm_layer=norm_layer, reduced_tail=False)
    model.backbone = _mobilenet_extractor(backbone, ALL_STAGES, norm_layer)
    channels = retrieve_out_channels(model.backbone, (320, 320))
    anchors = model.anchor_generator.num_anchors_per_location()
    model.head = SSDLiteHead(channels, anchors, classes, norm_layer)


def set_limits(model: BoxModel, cap: int, score_floor: float | None = None) -> None:
    """Let a model answer with up to `cap` detections an image, with scores down to `score_floor` (None: as it is).

    Candidates before NMS are several to a colony.
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
    """Shrink the anchors (32 px at least by default) to the data's boxes; their number, so every weight, stays."""
    if 0 not in spec.anchor_sizes:
        return
    owner: Any = model.rpn if isinstance(model, FasterRCNN) else model
    defaults = owner.anchor_generator
    factor = spec.anchor_sizes[0][0] / min(defaults.sizes[0])
    sizes = tuple(tuple(side * factor for side in sides) for sides in defaults.sizes)
    owner.anchor_generator = AnchorGenerator(sizes, defaults.aspect_ratios)
