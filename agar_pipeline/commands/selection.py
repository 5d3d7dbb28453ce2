"""Finds the assets that the arguments of a command name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agar_pipeline.chain.nodes import AssetNode, without_on_demand
from agar_pipeline.config.chosen_pipeline import chosen_words
from agar_pipeline.errors import ConfigError
from agar_pipeline.store import Key


def select_keys(nodes: Mapping[Key, AssetNode], assets: Sequence[str], experiment: str | None) -> set[Key]:
    """Return the named assets, or all but those on demand; with an experiment, only its own and their inputs.

    Args:
        assets: Names as in the plan; `+name` is the asset with everything that it is made from, as in Dagster's
            selections.
        experiment: Only the chain of this experiment.

    Raises:
        ConfigError: a name is not in this pipeline; the message lists the existing ones.
    """
    by_name = {str(key): key for key in nodes}
    unknown = [name for name in assets if name.removeprefix("+") not in by_name]
    if unknown:
        raise ConfigError(
            f"is not an asset of {chosen_words()}",
            where=repr(unknown[0]),
            next_step=f"set AGAR_PIPELINE to the pipeline that you mean, or name one of these: {', '.join(by_name)}",
        )
    experiments = sorted({key.experiment for key in nodes if key.experiment})
    if experiment is not None and experiment not in experiments:
        raise ConfigError(
            f"is not among the experiments of {chosen_words()}, which are: {', '.join(experiments) or 'none'}",
            where="--experiment",
            value=experiment,
            next_step="set AGAR_PIPELINE, add the experiment to `experiments` in the pipeline file, or train it alone: "
            f"agar train experiment={experiment}",
        )
    chosen = {by_name[name.removeprefix("+")] for name in assets} or set(without_on_demand(nodes))
    for name in assets:
        if name.startswith("+"):
            chosen |= set(made_from(nodes, by_name[name[1:]]))
    if experiment is not None:
        chosen = {key for key in chosen if key.experiment in (experiment, None) and key.asset != "leaderboard"}
    return chosen


def made_from(nodes: Mapping[Key, AssetNode], key: Key) -> Iterator[Key]:
    """Yield every asset that this one is made from, directly or indirectly."""
    for found in nodes[key].inputs:
        if found in nodes:  # the dataset is an input, but not a node
            yield found
            yield from made_from(nodes, found)
