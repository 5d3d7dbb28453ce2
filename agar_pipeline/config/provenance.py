"""Tells which file or override set each value of a composed experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agar_pipeline.config.layers import layers_of, leaves_of, source_of
from agar_pipeline.config.load_configs import load_experiment
from agar_pipeline.config.overrides import GROUPS
from agar_pipeline.config.plain_values import to_plain


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
