"""What `agar smoke` and `agar train` share: `experiment=E key=value…`, and building from the COCO cache alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agar_pipeline.config import ExperimentConfig


def split_words(words: Sequence[str]) -> tuple[str, list[str]]:
    """The experiment's name, and the overrides.

    Raises:
        click.UsageError: no experiment is named, or several are.
    """
    from agar_pipeline.config import names_in

    named = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    if len(named) != 1:
        raise click.UsageError(f"name one experiment: experiment=NAME, one of {', '.join(names_in('experiment'))}")
    return named[0], [word for word in words if not word.startswith("experiment=")]


def parse_experiment(words: Sequence[str]) -> tuple[ExperimentConfig, bool]:
    """Compose `experiment=E key=value…`.

    Returns:
        The experiment, and whether it builds what its file says: no override, or only of devices and the like, which
        no fingerprint holds.

    Raises:
        click.UsageError: no experiment is named.
        ConfigError: the experiment, a key or a value is wrong.
    """
    from agar_pipeline.chain import experiment_nodes
    from agar_pipeline.config import load_experiment

    def recorded(experiment: ExperimentConfig) -> list[dict[str, Any]]:
        return [node.recorded_config for node in experiment_nodes(name, experiment)]

    name, overrides = split_words(words)
    experiment = load_experiment(name, overrides)
    return experiment, not overrides or recorded(experiment) == recorded(load_experiment(name))


def build_from_cache(experiment: ExperimentConfig, last: str, *, as_configured: bool) -> Any:
    """Build the experiment's assets up to `last` from the latest COCO cache, without Dagster or FiftyOne.

    Returns:
        What the last one was built to.
    """
    from agar_pipeline.artifacts import Artifact
    from agar_pipeline.building import build_node
    from agar_pipeline.chain import experiment_nodes
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.config import agar_home
    from agar_pipeline.store import Key, Store

    store = Store(agar_home())
    built: dict[Key, Artifact] = {key: store.open_latest(key) for key in (Key("coco_cache"), Key("bbox_report"))}
    result: Any = None
    for node in experiment_nodes(experiment.name, experiment):
        inputs = {key: built[key] for key in node.inputs}
        result = build_node(store, node, inputs, say, repoint=as_configured)
        built[node.key] = result.artifact
        if node.key.asset == last:
            break
    return result
