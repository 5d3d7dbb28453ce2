"""Backbones of timm, with a feature pyramid on the strides that the colonies of a data set need.

Here: finding a backbone by name, its weights, its pyramid. Not here: the detectors on top of it (`timm_family`).
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import max_pool2d
from torchvision.ops import FeaturePyramidNetwork

from agar_pipeline.config.places import expanded
from agar_pipeline.config.timm_backbones import EXAMPLE, PREFIX
from agar_pipeline.errors import ConfigError, MissingPackageError
from agar_pipeline.text.plurals import plural

PYRAMID_CHANNELS = 256
_PROBE_SIDE = 64
"""Side of the image with which the feature maps are tried, pixels."""


@dataclass(frozen=True)
class TimmBackbone:
    """A backbone by name, and the size and normalization of images that its weights were trained with."""

    name: str
    """Of timm, with the tag of its weights if it has one: `convnext_tiny.fb_in22k_ft_in1k`."""
    mean: list[float]
    std: list[float]
    """Of the colours, which are from 0 to 1."""

    @classmethod
    def find(cls, written: str) -> TimmBackbone:
        """Find what `model.backbone` names; without a tag, timm's default one is taken.

        Raises:
            MissingPackageError: timm is not installed.
            ConfigError: timm has no such backbone, or no such weights of it; the message names the most similar ones.
        """
        MissingPackageError.require("timm")
        import timm

        name = written.removeprefix(PREFIX)
        architecture, _, tag = name.partition(".")
        known, near = timm.list_pretrained(f"{architecture}.*"), ""
        if not timm.is_model(architecture):
            near = " or ".join(difflib.get_close_matches(architecture, timm.list_models(), n=3))
        elif tag and name not in known:
            near = " or ".join(difflib.get_close_matches(name, known, n=3, cutoff=0))
        else:
            given = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
            tag = f".{given.tag}" if given.tag else ""
            return cls(f"{architecture}{tag}", list(given.mean), list(given.std))
        raise ConfigError(
            "is not a backbone of timm",
            where="model.backbone",
            value=written,
            next_step=f"write {PREFIX} and {near}, if you mean that" if near else f"write {EXAMPLE}, for example",
        )

    def to_plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class TimmPyramid(nn.Module):
    """A backbone of timm with a feature pyramid on the given strides.

    The pyramid begins at the finest stride that is wanted, and all coarser stages of the backbone contribute to it from
    above. A stride coarser than those of the backbone is made from the coarsest one by leaving out rows and columns.
    A level that nobody reads has no convolution: with one, training on several GPUs would wait for its gradient.
    """

    out_channels = PYRAMID_CHANNELS

    def __init__(self, body: nn.Module, strides: Sequence[int], stage_of: Mapping[int, tuple[int, int]]) -> None:
        """Put a pyramid on a backbone.

        Args:
            body: As timm builds it with `features_only`: images to a list of feature maps.
            strides: Of the levels that are returned.
            stage_of: Stride → place in that list, and number of channels.
        """
        super().__init__()
        self.body, self.strides = body, tuple(strides)
        self.stage_of = {stride: stage for stride, stage in sorted(stage_of.items()) if stride >= min(strides)}
        self.pyramid = FeaturePyramidNetwork([channels for _, channels in self.stage_of.values()], PYRAMID_CHANNELS)
        for at, stride in enumerate(self.stage_of):
            if stride not in strides and not (stride == max(self.stage_of) < max(strides)):
                self.pyramid.layer_blocks[at] = nn.Identity()

    def forward(self, images: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        """(B, 3, H, W) → stride → (B, 256, H / stride, W / stride)."""
        stages = self.body(images)
        levels = self.pyramid(OrderedDict((str(stride), stages[at]) for stride, (at, _) in self.stage_of.items()))
        coarsest = next(reversed(levels.values()))
        wanted: OrderedDict[str, torch.Tensor] = OrderedDict()
        for stride in self.strides:
            if str(stride) not in levels:
                coarsest = max_pool2d(coarsest, 1, 2)
            wanted[str(stride)] = levels.get(str(stride), coarsest)
        return wanted


def build_pyramid(backbone: TimmBackbone, strides: Sequence[int], weights: str | None) -> TimmPyramid:
    """Build a backbone and its pyramid.

    Args:
        backbone: As `TimmBackbone.find` returns it.
        strides: Of the levels, in powers of two that double.
        weights: None: random. `DEFAULT`: those of timm's name, which are downloaded. Else the path of a safetensors
            file or a state dict, as `timm.create_model(NAME).state_dict()` has it.

    Raises:
        ConfigError: the weights cannot be read or downloaded or belong to another backbone, or the backbone has no
            feature maps on these strides.
    """
    MissingPackageError.require("timm")
    import timm

    logging.getLogger("timm").setLevel(logging.ERROR)  # it warns of the classifier's tensors, which are left out
    given: dict[str, Any] = {"pretrained": weights is not None}
    if weights not in (None, "DEFAULT"):
        assert weights is not None
        _require_fitting(timm.create_model(backbone.name), backbone.name, weights)
        given["pretrained_cfg_overlay"] = {"file": str(expanded(weights))}
    try:
        body = timm.create_model(backbone.name, features_only=True, **given)
    except (RuntimeError, OSError, ValueError) as error:
        raise _explain(error, backbone.name, weights) from error
    return TimmPyramid(separate_activations(body), strides, _stages(body, backbone.name, strides))


def separate_activations(module: nn.Module) -> nn.Module:
    """Replace timm's BatchNorms that apply an activation by a plain BatchNorm and the activation, one after the other.

    BatchNorms of several ranks (torch's SyncBatchNorm, `ranks`) take the place of plain ones, and would drop the
    activation.
    """
    from timm.layers.norm_act import BatchNormAct2d

    for name, child in module.named_children():
        if not isinstance(child, BatchNormAct2d):
            separate_activations(child)
            continue
        norm = nn.BatchNorm2d(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
        norm.load_state_dict({key: value for key, value in child.state_dict().items() if key in norm.state_dict()})
        setattr(module, name, nn.Sequential(OrderedDict(norm=norm, drop=child.drop, act=child.act)))
    return module


def _stages(body: Any, name: str, strides: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Stride → place in the list of feature maps, and channels; of two maps on one stride the second."""
    probe = torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE)
    was_training = body.training
    try:
        with torch.no_grad():
            shapes = [tuple(level.shape) for level in body.eval()(probe)]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise _no_stages(name, f"cannot take images of any size ({str(error).splitlines()[0]})") from error
    body.train(was_training)
    found = {}
    maps = zip(body.feature_info.reduction(), body.feature_info.channels(), strict=True)
    for at, (stride, channels) in enumerate(maps):
        if shapes[at] != (1, channels, _PROBE_SIDE // stride, _PROBE_SIDE // stride):
            raise _no_stages(name, f"gives no feature maps of {channels} channels, but {shapes[at]}")
        found[stride] = (at, channels)
    missing = [stride for stride in strides if stride not in found and stride < max(found)]
    if missing or max(found) < min(strides):
        have, want = (", ".join(map(str, sorted(some))) for some in (found, strides))
        raise _no_stages(name, f"has feature maps on stride {have}, and these colonies need {want}")
    return found


def _no_stages(name: str, what: str) -> ConfigError:
    return ConfigError(
        what,
        where="model.backbone",
        value=f"{PREFIX}{name}",
        next_step=f"choose a convolutional backbone with stages, such as {EXAMPLE}",
    )


def _require_fitting(whole: Any, name: str, weights: str) -> None:
    """Require each tensor of a backbone in a file, but for its classifier: timm itself would leave it out silently."""
    state = _read_state(expanded(weights), weights)
    classifier = whole.pretrained_cfg.get("classifier") or ()
    parts = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    own = whole.state_dict()
    wrong = [
        key
        for key, value in own.items()
        if not key.startswith(tuple(f"{part}." for part in parts))
        and not key.endswith("num_batches_tracked")
        and (key not in state or state[key].shape != value.shape)
    ]
    if wrong:
        raise ConfigError(
            f"does not fit {PREFIX}{name}: {plural(len(wrong), 'tensor is', 'tensors are')} missing or of another "
            f"shape, the first is {wrong[0]}",
            where="model.weights_backbone",
            value=weights,
            next_step=f"give the state dict of timm.create_model({name!r}), or change model.backbone",
        )


def _read_state(path: Path, weights: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from timm.models import load_state_dict

    try:
        state = load_state_dict(str(path))
    except FileNotFoundError:
        what = "is neither a file nor DEFAULT"
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, AttributeError, SafetensorError) as error:
        what = f"is not a state dict of plain tensors: {(str(error).splitlines() or [type(error).__name__])[0]}"
    else:
        if all(isinstance(value, torch.Tensor) for value in state.values()):
            return state
        what = "holds no state dict, but something else, such as a whole model"
    raise ConfigError(
        what,
        where="model.weights_backbone",
        value=weights,
        next_step="give a safetensors file, or model.state_dict() saved with torch.save; or write DEFAULT or null",
    )


def _explain(error: Exception, name: str, weights: str | None) -> ConfigError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if weights != "DEFAULT":
        return _no_stages(name, f"gives no feature maps: {reason}")
    return ConfigError(
        f"could not be downloaded for {PREFIX}{name} ({reason})",
        where="model.weights_backbone",
        value=weights,
        next_step=f"download model.safetensors of {PREFIX}{name} from the Hugging Face hub elsewhere and give its "
        "path, or set model.weights_backbone=null",
    )
