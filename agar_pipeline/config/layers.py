"""The config files of an experiment, in the order in which later ones override earlier ones.

They tell which file set a value. Not here: composing them (`compose`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from agar_pipeline.config.compose import choices_of
from agar_pipeline.config.overrides import GROUPS
from agar_pipeline.config.places import configs_dir


def find_source(path: str, name: str, overrides: Sequence[str] = ()) -> str:
    """Return what set a key, or a part of it, of an invalid experiment: a file, "the command line", or ""."""
    for word in reversed(overrides):
        key = word.partition("=")[0].lstrip("+~")
        if key not in GROUPS and (path == key or path.startswith(f"{key}.")):
            return "the command line"
    sources = {key: source for source, values in layers_of(name, overrides) for key, _ in leaves_of(values)}
    found = source_of(path, sources)
    return "" if found == "default" else found


def source_of(key: str, sources: Mapping[str, str]) -> str:
    while key:
        if key in sources:
            return sources[key]
        key = key.rpartition(".")[0]
    return "default"


def layers_of(name: str, overrides: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the files and their values; later ones override earlier ones.

    Overrides that choose a group file are no layer.
    """
    for group, choice in choices_of(name, overrides).items():
        if group != "experiment":
            yield f"configs/{group}/{choice}.yaml", {group: _read(f"{group}/{choice}")}
    yield "configs/config.yaml", _read("config")
    yield f"configs/experiment/{name}.yaml", _read(f"experiment/{name}")


def _read(path: str) -> dict[str, Any]:
    plain = yaml.safe_load((configs_dir() / f"{path}.yaml").read_text()) or {}
    return {key: value for key, value in plain.items() if key != "defaults"}


def leaves_of(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, Mapping) and value:
            yield from leaves_of(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
