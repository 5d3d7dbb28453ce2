"""Shared by commands that take an experiment: parsing `experiment=E key=value…`, building, finding its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agar_pipeline.config import ExperimentConfig
    from agar_pipeline.history.lineage import LineageEntry
    from agar_pipeline.store import Store


def split_words(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the experiment's name, and the overrides.

    Raises:
        click.UsageError: no experiment is named, or several are.
    """
    from agar_pipeline.config import names_in

    named = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    if len(named) != 1:
        raise click.UsageError(
            f"name one experiment, as experiment=NAME; there are: {', '.join(names_in('experiment'))}"
        )
    return named[0], [word for word in words if not word.startswith("experiment=")]


def parse_experiment(words: Sequence[str]) -> tuple[ExperimentConfig, bool]:
    """Compose `experiment=E key=value…`.

    Returns:
        The experiment, and whether its fingerprints are those of its file. That is the case without overrides, or with
        overrides of values such as devices, which enter no fingerprint.

    Raises:
        click.UsageError: no experiment is named.
        ConfigError: the experiment, a key or a value is wrong.
    """
    from agar_pipeline.chain.nodes import experiment_nodes
    from agar_pipeline.config import CountingConfig, load_experiment

    def recorded(experiment: ExperimentConfig) -> list[dict[str, Any]]:
        return [node.recorded_config for node in experiment_nodes(name, experiment, CountingConfig())]

    name, overrides = split_words(words)
    experiment = load_experiment(name, overrides)
    return experiment, not overrides or recorded(experiment) == recorded(load_experiment(name))


def build_from_cache(experiment: ExperimentConfig, last: str, *, as_configured: bool) -> Any:
    """Build the experiment's assets up to `last` from the pipeline's COCO cache, without Dagster or FiftyOne.

    If the cache has no bbox report yet, that is built first.

    Returns:
        The `Built` of the last asset.
    """
    from agar_pipeline.artifacts import Artifact
    from agar_pipeline.chain.build import build_node
    from agar_pipeline.chain.current import Current
    from agar_pipeline.chain.nodes import pipeline_nodes
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.store import Key, Store

    store, cache, report = Store(agar_home()), Key("coco_cache"), Key("bbox_report")
    nodes = pipeline_nodes(load_pipeline(), {experiment.name: experiment})
    current = Current(store, nodes)
    current.require_allowed(nodes[report])
    built: dict[Key, Artifact] = {cache: current.open(cache)}
    if current.find(report):
        built[report] = current.open(report)
    else:
        say(f"{built[cache].root} has no bbox report yet, so that is built first")
        is_latest = store.latest(cache) == built[cache].root
        built[report] = build_node(store, nodes[report], built, say, repoint=is_latest).artifact
    result: Any = None
    for node in [node for node in nodes.values() if node.key.experiment == experiment.name]:
        if node.on_demand and node.key.asset != last:
            continue
        inputs = {key: built[key] if key in built else current.open(key) for key in node.inputs}
        result = build_node(store, node, inputs, say, repoint=as_configured)
        built[node.key] = result.artifact
        if node.key.asset == last:
            break
    return result


def current_evaluation(store: Store) -> Callable[[str], Path]:
    """Return a function: experiment → folder of its evaluation by today's config. Older ones have only fingerprints."""

    def find(experiment: str) -> Path:
        from agar_pipeline.chain.current import Current
        from agar_pipeline.chain.nodes import pipeline_nodes
        from agar_pipeline.config import load_experiment, load_pipeline, names_in
        from agar_pipeline.errors import ArtifactError
        from agar_pipeline.store import Key

        key = Key("evaluation", experiment)
        if (latest := store.latest(key)) and experiment not in names_in("experiment"):
            return latest  # without an experiment file, no config names another evaluation
        nodes = pipeline_nodes(load_pipeline(), {experiment: load_experiment(experiment)})
        try:
            root: Path = Current(store, nodes).open(key).root
        except ArtifactError as error:
            if not latest:
                raise
            raise ArtifactError(
                error.what,
                where=error.where,
                next_step=f"{error.next_step}; or name the last evaluation by its fingerprint, {latest.name[:12]}",
            ) from error
        return root

    return find


def choose_evaluation(store: Store, word: str | None) -> LineageEntry:
    """Return the evaluation that a word names, as in `find_evaluation`; without a word the current one.

    Raises:
        ArtifactError: there is none, or there are several.
    """
    from agar_pipeline.errors import ArtifactError
    from agar_pipeline.history.run_comparison import find_evaluation, list_evaluations

    if word is None:
        current = [row["experiment"] for row in list_evaluations(store) if row["latest"]]
        if not current:
            raise ArtifactError(
                "holds no evaluation yet", where=f"the home {store.home}", next_step="build one: agar run"
            )
        if len(current) > 1:
            raise ArtifactError(
                "holds evaluations of several experiments",
                where=f"the home {store.home}",
                next_step=f"name one of them with --experiment: {', '.join(current)}",
            )
        word = current[0]
    return find_evaluation(store, word, current_evaluation(store))
