"""Where each value of a composed experiment comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from agar_pipeline.config.compose import choices_of, load_experiment
from agar_pipeline.config.places import configs_dir
from agar_pipeline.config.plain import to_plain
from agar_pipeline.config.words import GROUPS


@dataclass(frozen=True)
class Origin:
    """One value, and the file or override that set it last."""

    key: str
    value: Any
    source: str


def explain_experiment(name: str, overrides: Sequence[str] = ()) -> list[Origin]:
    """All values of an experiment, in the order of the config's classes.

    Raises:
        ConfigError: as `load_experiment`.
    """
    plain = to_plain(load_experiment(name, overrides))
    sources: dict[str, str] = {}
    for source, values in _layers(name, overrides):
        for key, _ in _leaves(values):
            sources[key] = source
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if key in GROUPS:  # its file is one of the layers
            continue
        sources |= {known: word for known, _ in _leaves(plain) if known == key or known.startswith(f"{key}.")}
    return [Origin(key, value, _source_of(key, sources)) for key, value in _leaves(plain) if key != "name"]


def find_source(path: str, name: str, overrides: Sequence[str] = ()) -> str:
    """What set a key, or a part of it, of an experiment that cannot be used: a file, or the command line."""
    for word in reversed(overrides):
        key = word.partition("=")[0].lstrip("+~")
        if key not in GROUPS and (path == key or path.startswith(f"{key}.")):
            return "the command line"
    sources = {key: source for source, values in _layers(name, overrides) for key, _ in _leaves(values)}
    found = _source_of(path, sources)
    return "" if found == "default" else found


def _source_of(key: str, sources: Mapping[str, str]) -> str:
    while key:
        if key in sources:
            return sources[key]
        key = key.rpartition(".")[0]
    return "default"


def _layers(name: str, overrides: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files in the order in which they are laid over each other; words that pick a group are no layer."""
    for group, choice in choices_of(name, overrides).items():
        if group != "experiment":
            yield f"configs/{group}/{choice}.yaml", {group: _read(f"{group}/{choice}")}
    yield "configs/config.yaml", _read("config")
    yield f"configs/experiment/{name}.yaml", _read(f"experiment/{name}")


def _read(path: str) -> dict[str, Any]:
    plain = yaml.safe_load((configs_dir() / f"{path}.yaml").read_text()) or {}
    return {key: value for key, value in plain.items() if key != "defaults"}


def _leaves(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
