"""Which detectors there are, and which of torchvision's weights fit them, known without torch.

Frozen here so that a misspelt name is refused at once; a test holds the list against torchvision's own registry.
"""

from __future__ import annotations

import difflib
from pathlib import Path

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
"""Detectors of boxes (those of masks and keypoints need more) → the weights that their backbone may start from."""


def weights_of(name: str) -> tuple[str, ...]:
    """Members of the enum of a whole detector's weights."""
    return () if name == "tiny" else ("COCO_V1", "DEFAULT")


def find_unknown_name(name: str, weights_backbone: str | None = None) -> str | None:
    """What is wrong with the names of a detector and of its backbone's weights, and the nearest that are right."""
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1, cutoff=0.4)
        meant = f", did you mean {near[0]}?" if near else ";"
        return f"model.name {name!r} is not a detector of boxes{meant} There are: {', '.join(DETECTORS)}"
    if weights_backbone is not None and weights_backbone not in DETECTORS[name]:
        choices = ", ".join([*DETECTORS[name], "null"])
        return f"model.weights_backbone {weights_backbone!r} is none of the backbone of {name}: give {choices}"
    return None


def require_weights(name: str, weights: str | None) -> None:
    """Raises ConfigError where a detector's `weights` are neither torchvision's nor a file of this machine."""
    members = weights_of(name)
    if weights is None or weights in members or Path(weights).expanduser().is_file():
        return
    near = difflib.get_close_matches(weights, members, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"model.weights {weights!r} is neither a file nor weights of {name}{hint}\n"
        f"give {', '.join([*members, 'a path', 'null'])}"
    )
