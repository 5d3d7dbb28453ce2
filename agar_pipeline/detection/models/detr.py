"""The family of D-FINE and RT-DETRv2 of `transformers`: queries follow the data, and classes count from 0.

Here: configs and weights, from the table of sizes, from a folder that `save_pretrained` wrote, from the hub, from a
checkpoint of this project. Not here: inputs and outputs of the network (`detr_model`), the table (`detr_sizes`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from agar_pipeline.config import ModelConfig
from agar_pipeline.config.places import expanded
from agar_pipeline.detection.models.detr_model import DetrModel
from agar_pipeline.detection.models.detr_sizes import SIZES
from agar_pipeline.detection.models.family import Family, decay_weights
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.weights import load_weights, read_spec
from agar_pipeline.errors import ConfigError

BACKBONE_LR_FACTOR = 0.1
"""For a pretrained backbone: `params` in RT-DETRv2's and D-FINE's include/optimizer.yml."""
FIRST_SCORE = 0.01
"""Score of a new head, as in the authors' code (`bias_init_with_prob`). transformers' own is 1 / (classes + 1), so that
each query of a model of one class would begin as a detection."""
CLASS_LAYERS = ("enc_score_head", "class_embed")
"""Layers with a row per class; `denoising_class_embed` is one of them."""
_KINDS = {"d_fine": "dfine", "rt_detr_v2": "rtdetr_v2"}
"""`model_type` of a config → the model whose sizes are those of the given weights."""
_NOT_SIZES = (
    "initializer_bias_prior_prob",
    "id2label",
    "label2id",
    "architectures",
    "transformers_version",
    "dtype",
    "num_labels",
    "num_queries",
)


class DetrFamily(Family):
    """D-FINE and RT-DETRv2."""

    label_shift = 1
    weighs_ranks = True
    candidates_are_costly = True

    def build(self, spec: DetectorSpec, weights_backbone: str | None = None) -> nn.Module:  # noqa: ARG002
        from transformers import AutoConfig, AutoModelForObjectDetection

        assert spec.architecture is not None
        sizes = dict(spec.architecture["config"])
        kind = sizes.pop("model_type")
        config = AutoConfig.for_model(
            kind,
            **{"initializer_bias_prior_prob": FIRST_SCORE, **sizes},
            num_labels=spec.num_classes,
            num_queries=spec.detections_per_image,
        )
        with _quiet():
            network = AutoModelForObjectDetection.from_config(config)
        lr_factor = BACKBONE_LR_FACTOR if spec.architecture["pretrained"] else 1.0
        return DetrModel(network, spec.architecture["normalization"], lr_factor)

    def set_limits(self, model: Any, cap: int, score_floor: float | None = None) -> None:
        model.most_queries = cap
        model.score_floor = model.score_floor if score_floor is None else score_floor

    def find_architecture(self, model: ModelConfig) -> dict[str, Any]:
        """`config`, JSON-ready; `normalization`, `mean` and `std` or None; `pretrained`, whether weights are given.

        BatchNorms of a backbone are frozen if the weights' config says so, and trained if there are no weights.
        """
        own = SIZES.get(model.name)
        if model.weights is None:
            if own is None:
                raise ConfigError(
                    f"says nothing about the sizes of {model.name}",
                    where="model.weights",
                    value="null",
                    next_step="give a folder that save_pretrained wrote, or set model.name to a size: "
                    + ", ".join(name for name in SIZES if name.startswith(model.name)),
                )
            return {"config": {**own, "freeze_backbone_batch_norms": False}, "normalization": None, "pretrained": False}
        path = expanded(model.weights)
        if path.is_file():
            found = read_spec(path).get("architecture") or {"config": {"model_type": None}}
        else:
            found = {"config": _read_config(model.weights), "normalization": _read_normalization(model.weights)}
        _require_fitting(model, found["config"])
        return {**found, "pretrained": True}

    def load_weights(self, model: Any, name: str, weights: str, class_names: Sequence[str] = ()) -> list[str]:
        if expanded(weights).is_file():
            return load_weights(model, name, weights, class_names, heads=CLASS_LAYERS, of_each_class=CLASS_LAYERS)
        from transformers import AutoModelForObjectDetection

        with _reading(weights):
            given = AutoModelForObjectDetection.from_pretrained(
                *_place(weights), use_safetensors=True, local_files_only=_is_folder(weights)
            )
        names = [given.config.id2label[number] for number in range(given.config.num_labels)]
        state = {
            key: value
            for key, value in given.state_dict().items()
            if tuple(names) == tuple(class_names) or not any(part in key for part in CLASS_LAYERS)
        }
        missing = model.network.load_state_dict(state, strict=False).missing_keys
        return [f"network.{key}" for key in missing if not key.endswith("num_batches_tracked")]

    def parameter_groups(self, model: Any, weight_decay: float) -> list[dict[str, Any]]:
        backbone = {id(p) for p in model.network.model.backbone.parameters()}
        groups = []
        for group in decay_weights(model, weight_decay):
            of_backbone = [p for p in group["params"] if id(p) in backbone]
            others = [p for p in group["params"] if id(p) not in backbone]
            groups.append({**group, "params": others})
            groups.append({**group, "params": of_backbone, "lr_factor": model.backbone_lr_factor})
        return [group for group in groups if group["params"]]

    def why_not_exported(self) -> str | None:
        return "the exporter fixes the sizes of its feature maps, so that the file would read photos of one size only"


def _is_folder(weights: str) -> bool:
    return expanded(weights).is_dir()


def _place(weights: str) -> tuple[str]:
    return (str(expanded(weights)) if _is_folder(weights) else weights,)


def _read_config(weights: str) -> dict[str, Any]:
    from transformers import AutoConfig

    with _reading(weights):
        config = AutoConfig.from_pretrained(*_place(weights), local_files_only=_is_folder(weights))
    plain = json.loads(json.dumps(config.to_diff_dict()))
    return {key: value for key, value in plain.items() if key not in _NOT_SIZES}


def _read_normalization(weights: str) -> dict[str, list[float]] | None:
    """What its `preprocessor_config.json` says; without one, both authors' rule: None."""
    from transformers.utils import cached_file

    with _reading(weights):
        path = cached_file(
            *_place(weights),
            "preprocessor_config.json",
            local_files_only=_is_folder(weights),
            _raise_exceptions_for_missing_entries=False,
        )
    rule = json.loads(Path(path).read_text()) if path else {}
    if not rule.get("do_normalize"):
        return None
    return {"mean": list(rule["image_mean"]), "std": list(rule["image_std"])}


def _require_fitting(model: ModelConfig, config: Mapping[str, Any]) -> None:
    """Check that weights belong to the model that is named.

    Raises:
        ConfigError: they are of another kind or size; the message states the first size that differs.
    """
    kind = _KINDS.get(config.get("model_type") or "")
    if kind is None:
        raise _not_fitting(model, "it is neither D-FINE nor RT-DETRv2", "give other weights")
    remedy = f"set model.name={kind}, which takes the sizes of the weights"
    if not model.name.startswith(kind):
        raise _not_fitting(model, f"it is {kind}", remedy)
    given = _flat(config)
    for key, value in _flat(SIZES.get(model.name, {})).items():
        if given.get(key, value) != value:
            raise _not_fitting(model, f"its {key} is {given[key]}, not {value}", remedy)
    if config.get("learn_initial_query"):
        raise ConfigError(
            "learned a fixed number of queries, so that it cannot find more colonies on a fuller plate",
            where="model.weights",
            value=model.weights,
            next_step="give weights with learn_initial_query=false",
        )


def _not_fitting(model: ModelConfig, why: str, next_step: str) -> ConfigError:
    return ConfigError(
        f"does not fit {model.name}: {why}", where="model.weights", value=model.weights, next_step=next_step
    )


def _flat(sizes: Mapping[str, Any]) -> dict[str, Any]:
    backbone = {f"backbone's {key}": value for key, value in (sizes.get("backbone_config") or {}).items()}
    return {**{key: value for key, value in sizes.items() if key != "backbone_config"}, **backbone}


@contextmanager
def _reading(weights: str) -> Iterator[None]:
    """Context that turns the library's errors into a message.

    Raises:
        ConfigError: the folder has no model, or the hub cannot be reached.
    """
    from safetensors import SafetensorError

    with _quiet():
        try:
            yield
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if _is_folder(weights):
                raise ConfigError(
                    f"holds no model that can be read: {reason}",
                    where="model.weights",
                    value=weights,
                    next_step="give a folder that save_pretrained wrote, with config.json and model.safetensors",
                ) from error
            raise ConfigError(
                f"could not be downloaded: {reason}",
                where="model.weights",
                value=weights,
                next_step="fetch that repository elsewhere and give its folder, or set model.weights=null",
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Context without the library's notes and progress bars."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
