"""Loads pretrained weights, from torchvision or from a file.

Here: finding and reading a state dict, and fitting it to a detector with other classes. Not here: complete checkpoints
of this project (`checkpoint`).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import nn

from agar_pipeline.config import weights_of
from agar_pipeline.config.places import expanded
from agar_pipeline.errors import ConfigError
from agar_pipeline.text.plurals import plural

HEADS = ("cls_logits", "box_predictor", "classification_head")
"""Parts of torchvision's detectors whose shape depends on the classes; only these may differ from the weights."""
OF_EACH_CLASS = ("cls_logits", "box_predictor", "classification_head.module_list")
"""Parts of a head in which each row belongs to a class."""
_CONTAINERS = ("state_dict", "model", "model_state_dict")


def load_weights(
    model: nn.Module,
    name: str,
    weights: str,
    class_names: Sequence[str] = (),
    heads: Sequence[str] = HEADS,
    of_each_class: Sequence[str] = OF_EACH_CLASS,
) -> list[str]:
    """Load pretrained weights into a detector, except for layers whose shape depends on the classes and differs.

    Args:
        name: Its name in torchvision's registry, or `tiny`.
        weights: A member of its weights enum (`COCO_V1`, `DEFAULT`), or the path of a state dict.
        class_names: In the order of the model's labels. From a checkpoint with other classes, or with the same ones in
            another order, the parts of the head with a row per class are not loaded.
        heads: As `HEADS`.
        of_each_class: As `OF_EACH_CLASS`.

    Returns:
        Names of the tensors that keep their random start; all of them are in a head.

    Raises:
        ConfigError: there are no such weights, or they belong to another model.
    """
    state, learnt = _read_state(name, weights)
    if learnt is not None and class_names and tuple(learnt) != tuple(class_names):
        state = {key: value for key, value in state.items() if not any(part in key for part in of_each_class)}
    own = model.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    left = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    wrong = [key for key in left if not any(head in key for head in heads)]
    if wrong:
        raise ConfigError(
            f"does not fit {name}: {plural(len(wrong), 'tensor is', 'tensors are')} missing or of another shape, "
            f"the first is {wrong[0]}",
            where="model.weights",
            value=weights,
            next_step=f"give weights of {name}, or change model.name",
        )
    model.load_state_dict(fitting, strict=False)
    return left


def _read_state(name: str, weights: str) -> tuple[Mapping[str, torch.Tensor], Sequence[str] | None]:
    """The tensors, and the class names if the file is a checkpoint of this project that states them."""
    path = expanded(weights)
    if path.is_file():
        return _read_file(path)
    if weights not in weights_of(name):
        raise ConfigError(
            f"is neither a file nor weights of {name}",
            where="model.weights",
            value=weights,
            next_step=f"write {' or '.join([*weights_of(name), 'the path of a state dict', 'null'])}",
        )
    member = torchvision.models.get_model_weights(name)[weights]
    try:
        return member.get_state_dict(progress=False, check_hash=True), None
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"could not be downloaded for {name} ({error})",
            where="model.weights",
            value=weights,
            next_step=f"fetch {member.url} elsewhere and give its path as model.weights, or set model.weights=null",
        ) from error


def read_spec(path: Path) -> dict[str, Any]:
    """The plain spec in a checkpoint of this project; empty if the file is something else.

    Raises:
        ConfigError: the file is damaged, or holds more than plain values.
    """
    content = _read_content(path)
    spec = content.get("spec") if isinstance(content, Mapping) else None
    return dict(spec) if isinstance(spec, Mapping) else {}


def _read_file(path: Path) -> tuple[Mapping[str, torch.Tensor], Sequence[str] | None]:
    content = _read_content(path)
    learnt = content.get("class_names") if isinstance(content, Mapping) else None
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ConfigError(
            "holds no state dict, but something else, such as a whole model",
            where="model.weights",
            value=path,
            next_step="save model.state_dict() with torch.save, and give that file",
        )
    tensors = {key.removeprefix("model."): value for key, value in content.items()}
    return tensors, learnt if isinstance(learnt, list) else None


def _read_content(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            "is damaged or holds more than plain tensors, which could run code, and was not loaded",
            where="model.weights",
            value=path,
            next_step="save model.state_dict() with torch.save, and give that file",
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, AttributeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"is not a state dict of plain tensors: {first_line}",
            where="model.weights",
            value=path,
            next_step="save model.state_dict() with torch.save, and give that file",
        ) from error
