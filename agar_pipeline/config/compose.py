"""Config files composed by Hydra, here and nowhere else. No value is ever imported, called or instantiated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.config.categories import class_map_of_files
from agar_pipeline.config.composed import recall, remember
from agar_pipeline.config.experiment import ExperimentConfig
from agar_pipeline.config.pipeline import PipelineConfig
from agar_pipeline.config.places import configs_dir, pipeline_name
from agar_pipeline.config.plain import from_plain
from agar_pipeline.config.snapshot import CocoSnapshotConfig
from agar_pipeline.config.words import check_word, is_sweep, require_choice
from agar_pipeline.errors import ConfigError
from agar_pipeline.secrets import has_secret

if TYPE_CHECKING:
    from yaml import MarkedYAMLError

_TOLD_APART = 4096
"""Bytes of a file's beginning, more than most configs have."""


def load_pipeline(name: str | None = None) -> PipelineConfig:
    """Compose and check `configs/pipeline/<name>.yaml`; the default name is `AGAR_PIPELINE`, else `demo`."""
    said_by = "AGAR_PIPELINE" if not name and os.environ.get("AGAR_PIPELINE") else ""
    name = name or pipeline_name()
    require_choice("pipeline", name, "set AGAR_PIPELINE to one of them, or add the file", said_by)
    where = f"configs/pipeline/{name}.yaml"
    plain = _compose(f"pipeline/{name}", []).get("pipeline")
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where} holds no settings: `snapshot:` and `class_map:` at least, see configs/pipeline/")
    snapshot = plain.get("snapshot")
    if "class_map" not in plain and isinstance(snapshot, Mapping) and snapshot.get("source") == "coco":
        files = from_plain(CocoSnapshotConfig, snapshot, where=f"{where}: snapshot").file_paths()
        plain = {**plain, "class_map": class_map_of_files(files.values())}
    pipeline = from_plain(PipelineConfig, {"name": name, **plain}, where=where)
    if not pipeline.class_map:
        raise ConfigError(f"{where}: class_map is empty: give each class a number, `class_map: {{S.aureus: 1}}`")
    return pipeline


def load_experiment(name: str, overrides: Sequence[str] = (), said_by: str = "") -> ExperimentConfig:
    """Compose and check an experiment.

    Args:
        name: A file of `configs/experiment/`.
        overrides: Hydra's `key=value`, applied last.
        said_by: Where the name comes from, if nobody typed it.

    Raises:
        ConfigError: the experiment does not exist, or a key or value is wrong.
    """
    require_choice("experiment", name, said_by=said_by)
    for word in overrides:
        check_word(word)
        if is_sweep(word):
            raise ConfigError(f"{word} lists several values: train each of them with `agar train -m`")
    plain = _compose("config", [f"experiment={name}", *_forced(overrides)])

    def source_of(path: str) -> str:
        from agar_pipeline.config.provenance import find_source

        return find_source(path, name, overrides)

    return from_plain(ExperimentConfig, {"name": name, **plain}, f"experiment {name}", source_of)


def choices_of(name: str, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Config group → the file of it that an experiment takes, in the order of the defaults list."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs_dir())):
        composed = compose("config", [f"experiment={name}", *_forced(overrides)], return_hydra_config=True)
    choices = {str(group): str(choice) for group, choice in composed.hydra.runtime.choices.items()}
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}


def _forced(overrides: Sequence[str]) -> list[str]:
    """`++`: a key that no file sets may be set all the same; the dataclasses know which keys there are."""
    return [f"++{word}" if "." in word.partition("=")[0] and word[0] not in "+~" else word for word in overrides]


def _compose(config_name: str, overrides: list[str]) -> dict[str, Any]:
    plain = recall(config_name, overrides)
    if plain is None:
        plain = _compose_anew(config_name, overrides)
        _refuse_secrets(plain, f"configs/{config_name}.yaml")
        remember(config_name, overrides, plain)
    return plain


def _refuse_secrets(value: Any, where: str, path: str = "") -> None:
    """Raises ConfigError where a value is a password, or an address with one: git tracks these files."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_secrets(inner, where, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_secrets(inner, where, f"{path}[{index}]")
    elif isinstance(value, str) and "://" in value and has_secret(value):
        raise ConfigError(
            f"{where}: {path} holds a password, and this file is shared\n"
            "put it into a variable, `database: env:AGAR_DATABASE_URI`, or a file that only you can read, `file:PATH`"
        )


def _file_of(error: MarkedYAMLError, config_name: str) -> str:
    """The file that cannot be parsed: one that the config is composed of, as `configs/…`."""
    mark = error.problem_mark or error.context_mark
    named = Path(mark.name) if mark and mark.name else configs_dir() / f"{config_name}.yaml"
    return f"configs/{named.relative_to(configs_dir())}" if named.is_relative_to(configs_dir()) else str(named)


def _file_of_bytes(content: bytes, config_name: str) -> str:
    """The same by what was read of it: the parsers say nothing of the file."""
    paths = sorted(configs_dir().rglob("*.yaml"))
    found = next((path for path in paths if path.read_bytes().startswith(content[:_TOLD_APART])), None)
    return f"configs/{found.relative_to(configs_dir())}" if found else f"configs/{config_name}.yaml"


def _compose_anew(config_name: str, overrides: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf
    from yaml import MarkedYAMLError

    from agar_pipeline.yaml_words import explain_yaml

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir())):
            plain = OmegaConf.to_container(compose(config_name, overrides), resolve=True)
    except MarkedYAMLError as error:
        raise ConfigError(f"{_file_of(error, config_name)} is not YAML: {explain_yaml(error)}") from error
    except UnicodeDecodeError as error:
        where = _file_of_bytes(error.object, config_name)
        raise ConfigError(f"{where} is not text in UTF-8 (byte {error.start:,}): save it as UTF-8") from error
    except Exception as error:  # of a file that is no config, Hydra raises whatever its parsers happen to raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"configs/{config_name}.yaml with {overrides or 'no overrides'}: {why}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
