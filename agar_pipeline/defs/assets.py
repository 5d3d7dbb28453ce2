"""The assets; each is a signature, one call, and metadata."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

from agar_pipeline.chain.build import build_node, build_snapshot
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.config import configs_dir, pipeline_name
from agar_pipeline.defs.artifact_io import note_built, open_inputs, to_asset_key
from agar_pipeline.defs.failures import failure_with_fields
from agar_pipeline.defs.metadata import changes_since, describe
from agar_pipeline.defs.on_demand import is_named
from agar_pipeline.defs.report_links import page_metadata
from agar_pipeline.defs.resources import Compute
from agar_pipeline.defs.source import observe
from agar_pipeline.defs.tables import balance_of_parts
from agar_pipeline.store import Built, Key, Store
from agar_pipeline.text.safe_text import printable

DATA_GROUP = "data"
PROGRESS_TAG = "agar/progress"


def data_assets(store: Store, nodes: Mapping[Key, AssetNode]) -> list[dg.AssetsDefinition]:
    """Define snapshot, split, coco_cache and bbox_report."""
    source = nodes[Key("snapshot")].config.source

    @dg.asset(**_spec(nodes, "snapshot", {source, "parquet"}))
    def snapshot(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """Images and boxes of the dataset, written to Parquet files."""
        node = nodes[Key("snapshot")]
        before = store.latest(node.key)
        look, log = partial(observe, context, node), partial(_log, context)
        with failure_with_fields():
            built = build_snapshot(store, node, look, log, launcher=compute.data_launcher)
        return _result(context, node, built, changes_since(before, built.artifact))

    @dg.asset(**_spec(nodes, "split", {"parquet"}))
    def split(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """The part of each image: train, val or, if the config asks for it, test."""
        node = nodes[Key("split")]
        with failure_with_fields():
            inputs = open_inputs(context, store, nodes, node)
            built = build_node(store, node, inputs, partial(_log, context), launcher=compute.data_launcher)
        return _result(context, node, built, balance_of_parts(inputs[Key("snapshot")], built.artifact))

    @dg.asset(**_spec(nodes, "coco_cache", {"json"}))
    def coco_cache(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """Plain COCO files. Later assets use neither FiftyOne nor its database."""
        return _build(context, store, nodes, Key("coco_cache"), compute)

    @dg.asset(**_spec(nodes, "bbox_report", {"html"}))
    def bbox_report(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """The result of checking every box against every rule, and the verdict that allows training."""
        return _build(context, store, nodes, Key("bbox_report"), compute)

    return [snapshot, split, coco_cache, bbox_report]


def experiment_assets(store: Store, nodes: Mapping[Key, AssetNode], experiment: str) -> list[dg.AssetsDefinition]:
    """Define smoke_run, training_run, evaluation and label_review of one experiment, in a group of its own."""

    @dg.asset(**_spec(nodes, "smoke_run", {"torch"}, experiment), pool="gpu")
    def smoke_run(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """One training step, a checkpoint round trip, an evaluation: finds in seconds what training would fail at."""
        return _build(context, store, nodes, Key("smoke_run", experiment), compute)

    @dg.asset(**_spec(nodes, "training_run", {"torch"}, experiment), pool="gpu")
    def training_run(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """The detector, trained with Lightning from the COCO cache. During training, its log and the run's tag
        `agar/progress` show the progress.
        """
        return _build(context, store, nodes, Key("training_run", experiment), compute)

    @dg.asset(**_spec(nodes, "evaluation", {"html"}, experiment), pool="gpu")
    def evaluation(context: dg.AssetExecutionContext, compute: Compute) -> dg.MaterializeResult:
        """MAP and counts of the best checkpoint, with pictures of its predictions."""
        return _build(context, store, nodes, Key("evaluation", experiment), compute)

    @dg.asset(**_spec(nodes, "label_review", {"html"}, experiment), pool="gpu", output_required=False)
    def label_review(context: dg.AssetExecutionContext, compute: Compute) -> Iterator[dg.MaterializeResult]:
        """Suspect labels, by models that were not trained on the photos. A run of all assets leaves it out."""
        if is_named(context):
            yield _build(context, store, nodes, Key("label_review", experiment), compute)
        else:
            context.log.info("left out: it is built when it is asked for, by the job review or by `agar review`")

    return [smoke_run, training_run, evaluation, label_review]


def leaderboard_asset(store: Store, nodes: Mapping[Key, AssetNode]) -> dg.AssetsDefinition:
    @dg.asset(**_spec(nodes, "leaderboard", {"parquet"}))
    def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The experiments ranked by mAP, and which differences are larger than noise."""
        node = nodes[Key("leaderboard")]
        with failure_with_fields():
            built = build_node(store, node, open_inputs(context, store, nodes, node), partial(_log, context))
        return _result(context, node, built)

    return leaderboard


def _spec(nodes: Mapping[Key, AssetNode], asset: str, kinds: set[str], experiment: str | None = None) -> dict[str, Any]:
    node = nodes[Key(asset, experiment)]
    config_file = f"experiment/{experiment}.yaml" if experiment else f"pipeline/{pipeline_name()}.yaml"
    return {
        "key": to_asset_key(node.key),
        "deps": [to_asset_key(key) for key in node.inputs],
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
    nodes: Mapping[Key, AssetNode],
    key: Key,
    compute: Compute,
) -> dg.MaterializeResult:
    with failure_with_fields():
        node = nodes[key]
        if key.experiment is not None:
            nodes = compute.named(nodes, key.experiment)
            node = replace(node, config=compute.applied_to(node.config))
        inputs = open_inputs(context, store, nodes, node)
        built = build_node(store, node, inputs, partial(_log, context), launcher=compute.data_launcher)
    return _result(context, node, built)


def _log(context: dg.AssetExecutionContext, text: str) -> None:
    """Write to the run's log; the progress of a training also becomes a tag, which the list of runs shows."""
    text = printable(text)
    context.log.info(text)
    if text.startswith("epoch "):
        context.instance.add_run_tags(context.run_id, {PROGRESS_TAG: text})


def _result(
    context: dg.AssetExecutionContext, node: AssetNode, built: Built, more: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    note_built(context.run_id, node.key, built.artifact.root)
    metadata = {**(more or {}), **page_metadata(context.instance, built.artifact), **describe(built)}
    return dg.MaterializeResult(data_version=dg.DataVersion(built.artifact.data_version), metadata=metadata)
