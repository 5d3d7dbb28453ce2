"""The key `model.backbone`: a backbone of timm under Faster R-CNN or RetinaNet, checked without importing timm.

Not here: whether timm has a backbone of this name (`timm_backbone`).
"""

from __future__ import annotations

from agar_pipeline.config.detectors import DETECTORS
from agar_pipeline.config.places import expanded
from agar_pipeline.errors import ConfigError, MissingPackageError

PREFIX = "timm/"
EXAMPLE = "timm/convnext_tiny.fb_in22k_ft_in1k"


def find_wrong_backbone(name: str, backbone: str | None) -> ConfigError | None:
    """Return an error if a detector needs a backbone and has none, or has its own; None if all is right.

    Its `where` is a key of the section `model`.
    """
    if not DETECTORS[name].takes_backbone:
        takers = " or ".join(f"model.name={other}" for other, row in DETECTORS.items() if row.takes_backbone)
        return None if backbone is None else _wrong(f"cannot be set, because {name} has its own", backbone, takers)
    if backbone is None:
        return _wrong(f"must be set, because {name} has no backbone of its own", "null", f"model.backbone={EXAMPLE}")
    if not backbone.startswith(PREFIX):
        return _wrong(f"must begin with {PREFIX}", backbone, f"model.backbone={EXAMPLE}")
    return None


def require_backbone(backbone: str | None, weights: str | None) -> None:
    """Check before a training that timm is there, and the file of the backbone's weights.

    Args:
        backbone: `model.backbone`; None: nothing is checked.
        weights: `model.weights_backbone`.

    Raises:
        MissingPackageError: timm is not installed.
        ConfigError: there is no such file.
    """
    if backbone is None:
        return
    MissingPackageError.require("timm")
    if weights in (None, "DEFAULT") or expanded(weights).is_file():
        return
    raise ConfigError(
        "is neither a file nor DEFAULT",
        where="model.weights_backbone",
        value=weights,
        next_step="give a safetensors file or a state dict; or write DEFAULT or null",
    )


def _wrong(what: str, value: str, setting: str) -> ConfigError:
    return ConfigError(what, where="backbone", value=value, next_step=f"set {setting}")
