"""Loads the pipeline or the experiment that a person names: composes it and checks it against the dataclasses.

Errors name the file and the key. `explain_experiment` tells which file or override set each value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agar_pipeline.config.categories import class_map_of_files
from agar_pipeline.config.compose import compose_plain
from agar_pipeline.config.experiment import ExperimentConfig
from agar_pipeline.config.layers import find_source, layers_of, leaves_of, source_of
from agar_pipeline.config.overrides import GROUPS, check_word, is_sweep, require_choice
from agar_pipeline.config.pipeline import PipelineConfig
from agar_pipeline.config.places import pipeline_name
from agar_pipeline.config.plain_values import from_plain, to_plain
from agar_pipeline.config.snapshot import CocoSnapshotConfig
from agar_pipeline.errors import ConfigError


def load_pipeline(name: str | None = None) -> PipelineConfig:
    """Compose and check `configs/pipeline/<name>.yaml`.

    The default name is `AGAR_PIPELINE`, or `demo` if that is not set.
    """
    said_by = "AGAR_PIPELINE" if not name and os.environ.get("AGAR_PIPELINE") else ""
    name = name or pipeline_name()
    require_choice("pipeline", name, "set AGAR_PIPELINE to", said_by)
    where = f"configs/pipeline/{name}.yaml"
    plain = compose_plain(f"pipeline/{name}", []).get("pipeline")
    if not isinstance(plain, Mapping):
        raise ConfigError(
            "holds no settings",
            where=where,
            next_step="write `snapshot:` and `class_map:`, as the files beside it do",
        )
    snapshot = plain.get("snapshot")
    if "class_map" not in plain and isinstance(snapshot, Mapping) and snapshot.get("source") == "coco":
        files = from_plain(CocoSnapshotConfig, snapshot, where=f"{where}: snapshot").file_paths()
        plain = {**plain, "class_map": class_map_of_files(files.values())}
    pipeline = from_plain(PipelineConfig, {"name": name, **plain}, where=where)
    if not pipeline.class_map:
        raise ConfigError(
            "is empty",
            where=f"{where}: class_map",
            next_step="give each class a number, from 1 on: `class_map: {S.aureus: 1}`",
        )
    return pipeline


def load_experiment(name: str, overrides: Sequence[str] = (), said_by: str = "") -> ExperimentConfig:
    """Compose and check an experiment.

    Args:
        name: A file of `configs/experiment/`.
        overrides: Hydra's `key=value`, applied last.
        said_by: Source of the name for messages, if it was not typed on the command line.

    Raises:
        ConfigError: the experiment does not exist, or a key or value is wrong.
    """
    require_choice("experiment", name, said_by=said_by)
    for word in overrides:
        check_word(word)
        if is_sweep(word):
            raise ConfigError(
                "lists several values",
                where=word,
                next_step="give one value, or train each of them with `agar train -m`",
            )
    plain = compose_plain("config", [f"experiment={name}", *overrides])
    return from_plain(
        ExperimentConfig,
        {"name": name, **plain},
        f"experiment {name}",
        lambda path: find_source(path, name, overrides),
    )


@dataclass(frozen=True)
class Origin:
    """A value, and the file or override that set it last."""

    key: str
    value: Any
    source: str


def explain_experiment(name: str, overrides: Sequence[str] = ()) -> list[Origin]:
    """Return the origin of every value of an experiment, in the order of the config classes.

    Raises:
        ConfigError: as `load_experiment`.
    """
    plain = to_plain(load_experiment(name, overrides))
    sources: dict[str, str] = {}
    for source, values in layers_of(name, overrides):
        for key, _ in leaves_of(values):
            sources[key] = source
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if key in GROUPS:  # the file of the group is one of the layers
            continue
        sources |= {known: word for known, _ in leaves_of(plain) if known == key or known.startswith(f"{key}.")}
    return [Origin(key, value, source_of(key, sources)) for key, value in leaves_of(plain) if key != "name"]
