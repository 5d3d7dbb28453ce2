"""The supported detectors and the torchvision weights that fit each of them, listed without importing torch.

The list is fixed here so that a misspelt name is refused at once. A test compares it with torchvision's registry.
"""

from __future__ import annotations

import difflib

from agar_pipeline.config.places import expanded
from agar_pipeline.errors import ConfigError

_IMAGENET = ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT")
DETECTORS: dict[str, tuple[str, ...]] = {
    "tiny": (),
    "fasterrcnn_mobilenet_v3_large_320_fpn": _IMAGENET,
    "fasterrcnn_mobilenet_v3_large_fpn": _IMAGENET,
    "fasterrcnn_resnet50_fpn": _IMAGENET,
    "fasterrcnn_resnet50_fpn_v2": _IMAGENET,
    "fcos_resnet50_fpn": _IMAGENET,
    "retinanet_resnet50_fpn": _IMAGENET,
    "retinanet_resnet50_fpn_v2": _IMAGENET,
    "ssd300_vgg16": ("IMAGENET1K_V1", "IMAGENET1K_FEATURES", "DEFAULT"),
    "ssdlite320_mobilenet_v3_large": _IMAGENET,
}
"""Detector → the weights that its backbone may start from. Detectors of masks and keypoints are left out, because they
need more than boxes."""


_DETECTOR_FILES = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
    "fasterrcnn_mobilenet_v3_large_fpn": "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
    "fasterrcnn_resnet50_fpn": "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
    "fasterrcnn_resnet50_fpn_v2": "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
    "fcos_resnet50_fpn": "fcos_resnet50_fpn_coco-99b0c9b7.pth",
    "retinanet_resnet50_fpn": "retinanet_resnet50_fpn_coco-eeacb38b.pth",
    "retinanet_resnet50_fpn_v2": "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth",
    "ssd300_vgg16": "ssd300_vgg16_coco-b556d3b4.pth",
    "ssdlite320_mobilenet_v3_large": "ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
}
_BACKBONE_FILES = {
    "resnet50": {"IMAGENET1K_V1": "resnet50-0676ba61.pth", "IMAGENET1K_V2": "resnet50-11ad3fa6.pth"},
    "mobilenet_v3_large": {
        "IMAGENET1K_V1": "mobilenet_v3_large-8738ca79.pth",
        "IMAGENET1K_V2": "mobilenet_v3_large-5c1a4163.pth",
    },
    "vgg16": {"IMAGENET1K_V1": "vgg16-397923af.pth", "IMAGENET1K_FEATURES": "vgg16_features-amdegroot-88682ab5.pth"},
}
_DEFAULT_BACKBONES = {"resnet50": "IMAGENET1K_V2", "mobilenet_v3_large": "IMAGENET1K_V2", "vgg16": "IMAGENET1K_V1"}


def weights_file(name: str, word: str, of_backbone: bool = False) -> str | None:
    """Return the name of the file that torchvision downloads for a weights name; None if there is no such file.

    >>> weights_file("fcos_resnet50_fpn", "COCO_V1")
    'fcos_resnet50_fpn_coco-99b0c9b7.pth'
    >>> weights_file("fcos_resnet50_fpn", "DEFAULT", of_backbone=True)
    'resnet50-11ad3fa6.pth'
    """
    if not of_backbone:
        return _DETECTOR_FILES.get(name) if word in weights_of(name) else None
    backbone = next((backbone for backbone in _BACKBONE_FILES if backbone in name), None)
    if backbone is None:
        return None
    return _BACKBONE_FILES[backbone].get(_DEFAULT_BACKBONES[backbone] if word == "DEFAULT" else word)


def weights_of(name: str) -> tuple[str, ...]:
    """Return the members of torchvision's weights enum for a whole detector."""
    return () if name == "tiny" else ("COCO_V1", "DEFAULT")


def find_unknown_name(name: str, weights_backbone: str | None = None) -> ConfigError | None:
    """Return an error if a detector or its backbone weights are unknown; None if both names are valid.

    Its `where` is a key of the section `model`.
    """
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1, cutoff=0.4)
        return ConfigError(
            "is not a detector of boxes",
            where="name",
            value=name,
            next_step=f"{_meant(near)}write one of {', '.join(DETECTORS)}",
        )
    if weights_backbone is not None and weights_backbone not in DETECTORS[name]:
        return ConfigError(
            f"does not name weights of the backbone of {name}",
            where="weights_backbone",
            value=weights_backbone,
            next_step=f"write {' or '.join([*DETECTORS[name], 'null'])}",
        )
    return None


def _meant(near: list[str]) -> str:
    return f"write {near[0]}, if you mean that; else " if near else ""


def require_weights(name: str, weights: str | None) -> None:
    """Raise ConfigError if a detector's `weights` are neither a member of torchvision's enum nor a local file."""
    members = weights_of(name)
    if weights is None or weights in members or expanded(weights).is_file():
        return
    near = difflib.get_close_matches(weights, members, n=1)
    raise ConfigError(
        f"is neither a file nor weights of {name}",
        where="model.weights",
        value=weights,
        next_step=f"{_meant(near)}write {' or '.join([*members, 'the path of a state dict', 'null'])}",
    )
