"""The chain as data: which assets exist, which config each reads, which inputs each is made from.

Here: nodes and edges. Not here: building one (`build`), what a step does (`steps`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from agar_pipeline import config as c
from agar_pipeline.artifacts import ARTIFACTS, Manifest
from agar_pipeline.errors import ConfigError
from agar_pipeline.step_code.machine import expected_machine, machine_differences
from agar_pipeline.step_code.provenance import Provenance, provenance_of
from agar_pipeline.store import Key, MadeBy

SOURCE = Key("fiftyone_dataset")
"""The observable source that the snapshot is taken from; it has a version, but no artifact."""


@dataclass(frozen=True)
class AssetNode:
    """An asset, its config and its inputs."""

    key: Key
    config: Any
    inputs: tuple[Key, ...]
    strict: bool = False
    """Whether a change of the code or of a computing library makes a new artifact (`code: strict`)."""

    @property
    def on_demand(self) -> bool:
        """Whether it is built only if somebody names it."""
        return self.key.kind.on_demand

    @property
    def provenance(self) -> Provenance:
        """The code and the libraries that would build it now."""
        return provenance_of(self.key.asset)

    @property
    def made_by(self) -> MadeBy:
        """The version that enters the fingerprint, and what the manifest records of the code."""
        return MadeBy(self.step_version, self.provenance.to_plain())

    @property
    def step_version(self) -> str:
        """The code version of the step.

        For a strict node a hash is appended: of the code, of the libraries, and of the precision and the weights that
        this machine resolves. The device enters no fingerprint.
        """
        version = self.key.kind.code_version
        if not self.strict:
            return version
        machine = {name: value for name, value in expected_machine(self.config).items() if name != "device"}
        named_by = [self.provenance.digest, self.provenance.libraries, machine]
        return f"{version}+{hashlib.sha256(json.dumps(named_by, sort_keys=True).encode()).hexdigest()[:16]}"

    def differences(self, manifest: Manifest) -> list[str]:
        """Return how today's code, libraries and machine differ from those that made an artifact, one phrase each."""
        return [
            *self.provenance.differences(manifest.code),
            *machine_differences(manifest.machine, expected_machine(self.config)),
        ]

    @property
    def recorded_config(self) -> dict[str, Any]:
        return c.fingerprinted(self.config)

    @property
    def code_version(self) -> str:
        """The code version that Dagster compares: that of the step, and a hash of exactly the config that it reads."""
        digest = hashlib.sha256(json.dumps(self.recorded_config, sort_keys=True).encode()).hexdigest()
        return f"{self.step_version}-{digest[:10]}"


def pipeline_nodes(pipeline: c.PipelineConfig, experiments: Mapping[str, c.ExperimentConfig]) -> dict[Key, AssetNode]:
    """Return all nodes of a pipeline, inputs first."""
    configs = {
        "snapshot": pipeline.full_snapshot,
        "split": pipeline.full_split,
        "coco_cache": pipeline.coco_cache,
        "bbox_report": pipeline.bbox_report,
    }
    nodes = [_node(asset, config) for asset, config in configs.items()]
    for name, experiment in experiments.items():
        nodes += experiment_nodes(name, experiment, pipeline.counting, pipeline.split.group_by)
    compared = (Key("coco_cache"), *(Key("evaluation", name) for name in experiments))
    nodes.append(AssetNode(Key("leaderboard"), c.LeaderboardConfig(tuple(experiments)), compared))
    return {node.key: dataclasses.replace(node, strict=pipeline.code == "strict") for node in nodes}


def experiment_nodes(
    name: str, experiment: c.ExperimentConfig, counting: c.CountingConfig, group_by: str | None = None
) -> list[AssetNode]:
    """Return the four nodes of one experiment; counts and groups of photos are those of the pipeline."""
    if name in ARTIFACTS:
        raise ConfigError(
            "has the name of an asset", where=f"configs/experiment/{name}.yaml", next_step="rename the file"
        )
    own = vars(experiment.evaluation) | {"accelerator": experiment.trainer.accelerator}
    evaluation = c.ScoringConfig(**own, counting=counting)
    return [
        _node("smoke_run", experiment.smoke_run, name),
        _node("training_run", experiment.training_run, name),
        _node("evaluation", evaluation, name),
        _node("label_review", experiment.label_review(group_by, counting), name),
    ]


def without_on_demand(nodes: Mapping[Key, AssetNode], named: Collection[Key] = ()) -> dict[Key, AssetNode]:
    """Return the nodes without those that are built only on demand, unless they are among the named ones."""
    return {key: node for key, node in nodes.items() if key in named or not node.on_demand}


def _node(asset: str, config: Any, experiment: str | None = None) -> AssetNode:
    inputs = tuple(
        Key(name, experiment if name in ARTIFACTS and ARTIFACTS[name].in_experiment else None)
        for name in ARTIFACTS[asset].inputs
    )
    return AssetNode(Key(asset, experiment), config, inputs)


def load_nodes(pipeline: c.PipelineConfig | None = None) -> dict[Key, AssetNode]:
    """Load the nodes of a pipeline from the config files; the default is the pipeline that `AGAR_PIPELINE` names."""
    pipeline = pipeline or c.load_pipeline()
    said_by = f"experiments in configs/pipeline/{pipeline.name}.yaml"
    return pipeline_nodes(pipeline, {name: c.load_experiment(name, (), said_by) for name in pipeline.experiments})
