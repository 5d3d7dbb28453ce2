"""The assets: each a signature, one call, and metadata."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import dagster as dg

from agar_pipeline.artifacts import BboxReport, CocoCache, Evaluation, SmokeRun, Snapshot, Split, TrainingRun
from agar_pipeline.building import build_node, build_snapshot
from agar_pipeline.chain import SOURCE, Node
from agar_pipeline.config import configs_dir, pipeline_name
from agar_pipeline.defs.artifact_io import note_built, to_asset_key
from agar_pipeline.defs.metadata import changes_since, describe
from agar_pipeline.defs.resources import Compute
from agar_pipeline.defs.source import observe
from agar_pipeline.defs.tables import balance_of_parts
from agar_pipeline.store import Built, Key, Store

DATA_GROUP = "data"
PROGRESS_TAG = "agar/progress"


def data_assets(store: Store, nodes: Mapping[Key, Node]) -> list[dg.AssetsDefinition]:
    """snapshot, split, coco_cache, bbox_report."""

    source = nodes[Key("snapshot")].config.source

    @dg.asset(**_spec(nodes, "snapshot", {source, "parquet"}), deps=[dg.AssetKey(SOURCE.asset)])
    def snapshot(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """Images and boxes of the dataset, frozen as Parquet."""
        node = nodes[Key("snapshot")]
        before = store.latest(node.key)
        look, log = partial(observe, context, node), context.log.info
        built = build_snapshot(store, node, look, log, launcher=compute.data_launcher)
        return _result(context, node, built, changes_since(before, built.artifact))

    @dg.asset(**_spec(nodes, "split", {"parquet"}))
    def split(context: dg.AssetExecutionContext, compute: Compute, snapshot: Snapshot) -> dg.MaterializeResult:
        """Which part each image is in: train, val, perhaps test."""
        node = nodes[Key("split")]
        inputs, launcher = {Key("snapshot"): snapshot}, compute.data_launcher
        built = build_node(store, node, inputs, context.log.info, launcher=launcher)
        return _result(context, node, built, balance_of_parts(snapshot, built.artifact))

    @dg.asset(**_spec(nodes, "coco_cache", {"json"}))
    def coco_cache(
        context: dg.AssetExecutionContext, compute: Compute, snapshot: Snapshot, split: Split
    ) -> dg.MaterializeResult:
        """Plain COCO files. From here on nothing touches FiftyOne or its database."""
        return _build(context, store, nodes, "coco_cache", compute=compute, snapshot=snapshot, split=split)

    @dg.asset(**_spec(nodes, "bbox_report", {"html"}))
    def bbox_report(context: dg.AssetExecutionContext, compute: Compute, coco_cache: CocoCache) -> dg.MaterializeResult:
        """Every box against every rule, and the verdict that lets training start."""
        return _build(context, store, nodes, "bbox_report", compute=compute, coco_cache=coco_cache)

    return [snapshot, split, coco_cache, bbox_report]


def experiment_assets(store: Store, nodes: Mapping[Key, Node], experiment: str) -> list[dg.AssetsDefinition]:
    """smoke_run, training_run, evaluation of one experiment, in a group of its own."""
    smoke_key, training_key = (dg.AssetKey([experiment, name]) for name in ("smoke_run", "training_run"))

    @dg.asset(**_spec(nodes, "smoke_run", {"torch"}, experiment), pool="gpu")
    def smoke_run(
        context: dg.AssetExecutionContext, compute: Compute, coco_cache: CocoCache, bbox_report: BboxReport
    ) -> dg.MaterializeResult:
        """One batch, one step, one checkpoint, one evaluation: what would break training breaks here, in seconds."""
        inputs = {"coco_cache": coco_cache, "bbox_report": bbox_report}
        return _build(context, store, nodes, "smoke_run", experiment, compute=compute, **inputs)

    @dg.asset(
        **_spec(nodes, "training_run", {"torch"}, experiment), pool="gpu", ins={"smoke_run": dg.AssetIn(smoke_key)}
    )
    def training_run(
        context: dg.AssetExecutionContext, compute: Compute, coco_cache: CocoCache, smoke_run: SmokeRun
    ) -> dg.MaterializeResult:
        """The detector, trained by Lightning from the COCO cache alone. While it runs, its log and the run's tag
        `agar/progress` say how far it is."""
        inputs = {"coco_cache": coco_cache, "smoke_run": smoke_run}
        return _build(context, store, nodes, "training_run", experiment, compute=compute, **inputs)

    @dg.asset(
        **_spec(nodes, "evaluation", {"html"}, experiment), pool="gpu", ins={"training_run": dg.AssetIn(training_key)}
    )
    def evaluation(
        context: dg.AssetExecutionContext, compute: Compute, coco_cache: CocoCache, training_run: TrainingRun
    ) -> dg.MaterializeResult:
        """mAP and counts of the best checkpoint, with pictures of what it saw."""
        inputs = {"coco_cache": coco_cache, "training_run": training_run}
        return _build(context, store, nodes, "evaluation", experiment, compute=compute, **inputs)

    return [smoke_run, training_run, evaluation]


def leaderboard_asset(store: Store, nodes: Mapping[Key, Node]) -> dg.AssetsDefinition:
    node = nodes[Key("leaderboard")]
    ins = {f"of_{key.experiment}": dg.AssetIn(to_asset_key(key)) for key in node.inputs if key.experiment}

    @dg.asset(**_spec(nodes, "leaderboard", {"parquet"}), ins=ins)
    def leaderboard(
        context: dg.AssetExecutionContext, coco_cache: CocoCache, **evaluations: Evaluation
    ) -> dg.MaterializeResult:
        """The experiments side by side, and which differences are more than noise."""
        inputs = {key: evaluations[f"of_{key.experiment}"] if key.experiment else coco_cache for key in node.inputs}
        return _result(context, node, build_node(store, node, inputs, context.log.info))

    return leaderboard


def _spec(nodes: Mapping[Key, Node], asset: str, kinds: set[str], experiment: str | None = None) -> dict[str, Any]:
    node = nodes[Key(asset, experiment)]
    config_file = f"experiment/{experiment}.yaml" if experiment else f"pipeline/{pipeline_name()}.yaml"
    return {
        "key": to_asset_key(node.key),
        "code_version": node.code_version,
        "group_name": experiment or DATA_GROUP,
        "kinds": kinds,
        "owners": [f"team:{config_file}"],
        "metadata": {
            "config": dg.MetadataValue.json(node.recorded_config),
            "config_file": dg.MetadataValue.path(configs_dir() / config_file),
        },
    }


def _build(
    context: dg.AssetExecutionContext,
    store: Store,
    nodes: Mapping[Key, Node],
    asset: str,
    experiment: str | None = None,
    *,
    compute: Compute,
    **inputs: Any,
) -> dg.MaterializeResult:
    node = nodes[Key(asset, experiment)]
    if experiment is not None:
        node = Node(node.key, compute.applied_to(node.config), node.inputs)
    by_key, launcher = {key: inputs[key.asset] for key in node.inputs}, compute.data_launcher
    return _result(context, node, build_node(store, node, by_key, partial(_log, context), launcher=launcher))


def _log(context: dg.AssetExecutionContext, text: str) -> None:
    """Into the run's log; how far a training is also onto the run, where the list of runs shows it."""
    context.log.info(text)
    if text.startswith("epoch "):
        context.instance.add_run_tags(context.run_id, {PROGRESS_TAG: text})


def _result(
    context: dg.AssetExecutionContext, node: Node, built: Built, more: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    note_built(context.run_id, node.key, built.artifact.root)
    metadata = {**(more or {}), **describe(built)}
    return dg.MaterializeResult(data_version=dg.DataVersion(built.artifact.data_version), metadata=metadata)
