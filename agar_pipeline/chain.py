"""The chain as data: which assets there are, which config each reads, what each is made from.

Here: nodes and edges. Not here: building one (`building`), what a step does (`steps`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agar_pipeline import config as c
from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.errors import ConfigError
from agar_pipeline.store import Key

SOURCE = Key("fiftyone_dataset")
"""The observable source that the snapshot is taken from; it has a version, but no artifact."""


@dataclass(frozen=True)
class Node:
    """An asset, its config and its inputs."""

    key: Key
    config: Any
    inputs: tuple[Key, ...]

    @property
    def recorded_config(self) -> dict[str, Any]:
        return c.fingerprinted(self.config)

    @property
    def code_version(self) -> str:
        """What Dagster compares: the step's code version, and a hash of exactly the config that it reads."""
        digest = hashlib.sha256(json.dumps(self.recorded_config, sort_keys=True).encode()).hexdigest()
        return f"{self.key.kind.code_version}-{digest[:10]}"


def pipeline_nodes(pipeline: c.PipelineConfig, experiments: Mapping[str, c.ExperimentConfig]) -> dict[Key, Node]:
    """All nodes of a pipeline, inputs before what is made from them."""
    configs = {
        "snapshot": pipeline.full_snapshot,
        "split": pipeline.full_split,
        "coco_cache": pipeline.coco_cache,
        "bbox_report": pipeline.bbox_report,
    }
    nodes = [_node(asset, config) for asset, config in configs.items()]
    for name, experiment in experiments.items():
        nodes += experiment_nodes(name, experiment)
    compared = (Key("coco_cache"), *(Key("evaluation", name) for name in experiments))
    nodes.append(Node(Key("leaderboard"), c.LeaderboardConfig(tuple(experiments)), compared))
    return {node.key: node for node in nodes}


def experiment_nodes(name: str, experiment: c.ExperimentConfig) -> list[Node]:
    """The three nodes of one experiment."""
    if name in ARTIFACTS:
        raise ConfigError(f"configs/experiment/{name}.yaml has the name of an asset: rename it")
    evaluation = dataclasses.replace(experiment.evaluation, accelerator=experiment.trainer.accelerator)
    return [
        _node("smoke_run", experiment.smoke_run, name),
        _node("training_run", experiment.training_run, name),
        _node("evaluation", evaluation, name),
    ]


def _node(asset: str, config: Any, experiment: str | None = None) -> Node:
    inputs = tuple(
        Key(name, experiment if name in ARTIFACTS and ARTIFACTS[name].in_experiment else None)
        for name in ARTIFACTS[asset].inputs
    )
    return Node(Key(asset, experiment), config, inputs)


def load_nodes(pipeline: c.PipelineConfig | None = None) -> dict[Key, Node]:
    """The nodes of a pipeline, or of the one that `AGAR_PIPELINE` picks, from the config files."""
    pipeline = pipeline or c.load_pipeline()
    return pipeline_nodes(pipeline, {name: c.load_experiment(name) for name in pipeline.experiments})
