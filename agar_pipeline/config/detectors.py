"""The supported detectors and the torchvision weights that fit each of them, listed without importing torch.

The list is fixed here so that a misspelt name is refused at once. A test compares it with torchvision's registry.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from agar_pipeline.config.places import expanded
from agar_pipeline.errors import ConfigError


@dataclass(frozen=True)
class DetectorRow:
    """What is known of a detector before torch is loaded."""

    family: str
    """Its row in `FAMILIES` of detection/models/families.py."""
    weights_file: str | None = None
    """File that torchvision downloads for `COCO_V1`; None: there are no such weights."""
    backbone: str | None = None
    """Row of `BACKBONES`; None: the backbone has no weights of its own."""
    crop_side: int = 640
    """Side of the crops that `data: auto` chooses, pixels; a batch has as many pixels as eight of them."""
    least_side: int = 1
    """Smallest `data.input_size`, pixels."""
    freezes_norms: bool = False
    """Whether torchvision builds its backbone with frozen BatchNorms if its weights are pretrained."""
    takes_backbone: bool = False
    """Whether `model.backbone` names its backbone."""
    hub_id: str | None = None
    """Repository on the hub of `transformers` with the authors' weights, trained on COCO."""
    packages: tuple[str, ...] = ()
    """Packages of an extra that it needs."""

    @property
    def takes_folder(self) -> bool:
        """Whether `model.weights` may be a folder that `save_pretrained` of `transformers` wrote."""
        return "transformers" in self.packages


def _detr(hub_id: str | None = None) -> DetectorRow:
    return DetectorRow("detr", least_side=64, hub_id=hub_id, packages=("transformers",))


DETECTORS: dict[str, DetectorRow] = {
    "tiny": DetectorRow("tiny", crop_side=320),
    "fasterrcnn_mobilenet_v3_large_320_fpn": DetectorRow(
        "faster_rcnn",
        "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        "mobilenet_v3_large",
        freezes_norms=True,
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": DetectorRow(
        "faster_rcnn",
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        "mobilenet_v3_large",
        freezes_norms=True,
    ),
    "fasterrcnn_resnet50_fpn": DetectorRow(
        "faster_rcnn", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "resnet50", freezes_norms=True
    ),
    "fasterrcnn_resnet50_fpn_v2": DetectorRow(
        "faster_rcnn", "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", "resnet50"
    ),
    "fasterrcnn": DetectorRow("faster_rcnn_on_timm", takes_backbone=True, packages=("timm",)),
    "fcos_resnet50_fpn": DetectorRow("fcos", "fcos_resnet50_fpn_coco-99b0c9b7.pth", "resnet50", freezes_norms=True),
    "retinanet_resnet50_fpn": DetectorRow(
        "retinanet", "retinanet_resnet50_fpn_coco-eeacb38b.pth", "resnet50", freezes_norms=True
    ),
    "retinanet_resnet50_fpn_v2": DetectorRow("retinanet", "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", "resnet50"),
    "retinanet": DetectorRow("retinanet_on_timm", takes_backbone=True, packages=("timm",)),
    "ssd300_vgg16": DetectorRow("ssd", "ssd300_vgg16_coco-b556d3b4.pth", "vgg16", least_side=300),
    "ssdlite320_mobilenet_v3_large": DetectorRow(
        "ssdlite", "ssdlite320_mobilenet_v3_large_coco-a79551df.pth", "mobilenet_v3_large"
    ),
    "dfine": _detr(),
    "dfine_n": _detr("ustc-community/dfine-nano-coco"),
    "dfine_s": _detr("ustc-community/dfine-small-coco"),
    "dfine_m": _detr("ustc-community/dfine-medium-coco"),
    "dfine_l": _detr("ustc-community/dfine-large-coco"),
    "dfine_x": _detr("ustc-community/dfine-xlarge-coco"),
    "rtdetr_v2": _detr(),
    "rtdetr_v2_r18": _detr("PekingU/rtdetr_v2_r18vd"),
    "rtdetr_v2_r34": _detr("PekingU/rtdetr_v2_r34vd"),
    "rtdetr_v2_r50": _detr("PekingU/rtdetr_v2_r50vd"),
    "rtdetr_v2_r101": _detr("PekingU/rtdetr_v2_r101vd"),
}
"""Detector → what is known of it. Detectors of masks and keypoints are left out, because they need more than boxes.
`dfine` and `rtdetr_v2` have the sizes of the folder that `model.weights` names."""


BACKBONES: dict[str, dict[str, str]] = {
    "resnet50": {
        "IMAGENET1K_V1": "resnet50-0676ba61.pth",
        "IMAGENET1K_V2": "resnet50-11ad3fa6.pth",
        "DEFAULT": "resnet50-11ad3fa6.pth",
    },
    "mobilenet_v3_large": {
        "IMAGENET1K_V1": "mobilenet_v3_large-8738ca79.pth",
        "IMAGENET1K_V2": "mobilenet_v3_large-5c1a4163.pth",
        "DEFAULT": "mobilenet_v3_large-5c1a4163.pth",
    },
    "vgg16": {
        "IMAGENET1K_V1": "vgg16-397923af.pth",
        "IMAGENET1K_FEATURES": "vgg16_features-amdegroot-88682ab5.pth",
        "DEFAULT": "vgg16-397923af.pth",
    },
}
"""Backbone → member of torchvision's weights enum → the file that it downloads."""


def weights_file(name: str, word: str, of_backbone: bool = False) -> str | None:
    """Return the name of the file that torchvision downloads for a weights name; None if there is no such file.

    >>> weights_file("fcos_resnet50_fpn", "COCO_V1")
    'fcos_resnet50_fpn_coco-99b0c9b7.pth'
    >>> weights_file("fcos_resnet50_fpn", "DEFAULT", of_backbone=True)
    'resnet50-11ad3fa6.pth'
    """
    row = DETECTORS.get(name)
    if row is None:
        return None
    if not of_backbone:
        return row.weights_file if word in weights_of(name) else None
    return BACKBONES[row.backbone].get(word) if row.backbone else None


def weights_of(name: str) -> tuple[str, ...]:
    """Return the names of weights for a whole detector: members of torchvision's enum, or a repository of the hub."""
    row = DETECTORS[name]
    return ("COCO_V1", "DEFAULT") if row.weights_file else (row.hub_id,) if row.hub_id else ()


def backbone_weights_of(name: str) -> tuple[str, ...]:
    """Return the members of torchvision's weights enum for a detector's backbone alone."""
    backbone = DETECTORS[name].backbone
    return tuple(BACKBONES[backbone]) if backbone else ()


def find_unknown_name(name: str, weights_backbone: str | None = None) -> ConfigError | None:
    """Return an error if a detector or its backbone weights are unknown; None if both names are valid.

    Its `where` is a key of the section `model`.
    """
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        return ConfigError(
            "is not a detector of boxes",
            where="name",
            value=name,
            next_step=f"{_meant(near)}write one of {', '.join(DETECTORS)}",
        )
    if DETECTORS[name].takes_backbone:
        return None
    if weights_backbone is not None and weights_backbone not in backbone_weights_of(name):
        return ConfigError(
            f"does not name weights of the backbone of {name}",
            where="weights_backbone",
            value=weights_backbone,
            next_step=f"write {' or '.join([*backbone_weights_of(name), 'null'])}",
        )
    return None


def _meant(near: list[str]) -> str:
    return f"write {near[0]}, if you mean that; else " if near else ""


def require_weights(name: str, weights: str | None) -> None:
    """Raise ConfigError if a detector's `weights` are neither a name of its weights, nor a local file or folder."""
    members, row = weights_of(name), DETECTORS[name]
    if weights is None or weights in members or (path := expanded(weights)).is_file():
        return
    folder = "the folder that save_pretrained wrote, " if row.takes_folder else ""
    if folder and path.is_dir():
        if missing := [file for file in ("config.json", "*.safetensors") if not any(path.glob(file))]:
            raise ConfigError(
                f"holds no model: it has no {' and no '.join(missing)}",
                where="model.weights",
                value=weights,
                next_step="give a folder that save_pretrained wrote",
            )
        return
    near = difflib.get_close_matches(weights, members, n=1)
    raise ConfigError(
        f"is neither a file nor weights of {name}",
        where="model.weights",
        value=weights,
        next_step=f"{_meant(near)}write {' or '.join([*members, f'{folder}the path of a state dict', 'null'])}",
    )
