"""The chain as data: which assets there are, which config each reads, what each is made from; and how one is built.

Dagster (`defs`), the plan and the command line all build assets through `build_node`, so that all three agree.
Here: nodes and edges. Not here: what a step does (`steps`), how a folder is published (`store`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline import config as c
from agar_pipeline.artifacts import ARTIFACTS, Artifact, BboxReport, CocoCache, SmokeRun
from agar_pipeline.errors import ArtifactError, ConfigError, DatasetMovedError
from agar_pipeline.launch import run_child
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Built, Content, Key, Store

READ_ATTEMPTS = 3
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
        "snapshot": pipeline.snapshot,
        "split": pipeline.split,
        "coco_cache": pipeline.coco_cache,
        "bbox_report": pipeline.bbox_report,
    }
    nodes = [_node(asset, config) for asset, config in configs.items()]
    for name, experiment in experiments.items():
        nodes += experiment_nodes(name, experiment)
    evaluations = tuple(Key("evaluation", name) for name in experiments)
    nodes.append(Node(Key("leaderboard"), c.LeaderboardConfig(tuple(experiments)), evaluations))
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


def build_node(
    store: Store,
    node: Node,
    inputs: Mapping[Key, Artifact],
    log: Callable[[str], None],
    *,
    source_version: str | None = None,
    repoint: bool = True,
) -> Built:
    """Build one asset, or find it built.

    Args:
        store: Where artifacts live.
        node: What to build.
        inputs: The artifact of each of the node's inputs.
        log: Told about the progress.
        source_version: Of the FiftyOne dataset; for the snapshot only.
        repoint: See `Store.build`.

    Raises:
        GateError: training was asked for data that the bbox report refuses.
        PipelineError: whatever the step raises.
    """
    if node.key.asset == "training_run":
        _require_smoke(inputs)
        _require_verdict(store, inputs)
    contents = {str(key): Content.of(artifact.manifest) for key, artifact in inputs.items()}
    if source_version is not None:
        contents[str(SOURCE)] = Content(source_version, {})
    by_asset = {key.asset: artifact for key, artifact in inputs.items()}

    def write(out_dir: Path) -> None:
        if STEPS[node.key.asset].own_process:
            _run_in_own_process(node, by_asset, out_dir, log)
        elif node.key.asset == "leaderboard":
            evaluations = {str(key.experiment): artifact for key, artifact in inputs.items()}
            STEPS["leaderboard"].build(node.config, out_dir, log, evaluations=evaluations)
        else:
            STEPS[node.key.asset].build(node.config, out_dir, log, **by_asset)
        if source_version is not None:
            _require_version(out_dir, source_version)

    uses = [artifact.root for artifact in inputs.values()]
    return store.build(node.key, node.recorded_config, contents, write, log, repoint=repoint, uses=uses)


def build_snapshot(store: Store, node: Node, observe: Callable[[], str], log: Callable[[str], None]) -> Built:
    """Build the snapshot of what `observe` sees; again where the dataset moved between looking and reading.

    Raises:
        DatasetMovedError: it moved each time.
    """
    for _ in range(READ_ATTEMPTS - 1):
        try:
            return build_node(store, node, {}, log, source_version=observe())
        except DatasetMovedError as moved:
            log(f"{moved}: once more")
    return build_node(store, node, {}, log, source_version=observe())


def _require_version(out_dir: Path, source_version: str) -> None:
    read = json.loads((out_dir / "dataset.json").read_text())["source_version"]
    if read != source_version:
        raise DatasetMovedError("the dataset changed between looking at it and reading it; wait for edits to end")


def _run_in_own_process(node: Node, inputs: Mapping[str, Artifact], out_dir: Path, log: Callable[[str], None]) -> None:
    request = {
        "asset": node.key.asset,
        "config": c.to_plain(node.config),
        "inputs": {name: str(artifact.root) for name, artifact in inputs.items()},
        "out_dir": str(out_dir),
    }
    trainer = getattr(node.config, "trainer", None)
    if trainer is None:
        run_child("agar_pipeline.steps", request, log)
        return
    env = {}
    if trainer.socket_ifname:
        env = {"NCCL_SOCKET_IFNAME": trainer.socket_ifname, "GLOO_SOCKET_IFNAME": trainer.socket_ifname}
    run_child("agar_pipeline.steps", request, log, ranks=trainer.devices, env=env)


def _require_smoke(inputs: Mapping[Key, Artifact]) -> None:
    by_asset = {key.asset: artifact for key, artifact in inputs.items()}
    smoke_run, coco_cache = by_asset["smoke_run"], by_asset["coco_cache"]
    assert isinstance(smoke_run, SmokeRun)
    if smoke_run.manifest.inputs.get("coco_cache") != coco_cache.data_version:
        raise ArtifactError(
            f"{smoke_run.root} was made from another COCO cache than {coco_cache.root}: materialize smoke_run first"
        )


def _require_verdict(store: Store, inputs: Mapping[Key, Artifact]) -> None:
    """Refuse data whose newest stored verdict is bad, whichever run found it."""
    root = store.latest(Key("bbox_report"))
    if root is None:
        return
    report, coco_cache = BboxReport.open(root), inputs[Key("coco_cache")]
    assert isinstance(coco_cache, CocoCache)
    if report.manifest.inputs.get("coco_cache") == coco_cache.data_version:
        report.require_ok()
