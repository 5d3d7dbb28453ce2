"""The dataset (FiftyOne or COCO files) as a Dagster source asset: its version is observed, it is never built."""

import warnings

import dagster as dg

from agar_pipeline.chain.nodes import SOURCE, AssetNode
from agar_pipeline.config import agar_home, to_plain
from agar_pipeline.defs.home_storage import require_one_home
from agar_pipeline.defs.run_locks import keep_run
from agar_pipeline.snapshots.sources import ObservedData, observe_source
from agar_pipeline.text.plurals import plural


def fiftyone_dataset(snapshot_node: AssetNode) -> dg.SourceAsset:
    """Define the observable source of a pipeline's snapshot."""
    config = snapshot_node.config
    warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*observable_source_asset")

    @dg.observable_source_asset(
        name=SOURCE.asset,
        group_name="data",
        description=f"{config.describe()}.",
        metadata={name: value for name, value in to_plain(config).items() if value is not None},
    )
    def fiftyone_dataset(context: dg.OpExecutionContext) -> dg.ObserveResult:
        require_one_home(context.instance)
        seen = observe_source(config, agar_home())
        context.log.info(f"{plural(seen.samples, 'sample')}, {plural(seen.boxes, 'box', 'boxes')}")
        return dg.ObserveResult(
            data_version=dg.DataVersion(seen.version), metadata={"samples": seen.samples, "boxes": seen.boxes}
        )

    return fiftyone_dataset


def record_observation(instance: dg.DagsterInstance, seen: ObservedData) -> None:
    """Record an observation in Dagster's event log, without a run."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            dg.AssetKey(SOURCE.asset),
            metadata={"samples": seen.samples, "boxes": seen.boxes},
            tags={"dagster/data_version": seen.version},
        )
    )


def observe(context: dg.AssetExecutionContext, snapshot_node: AssetNode) -> str:
    """Observe the dataset; if Dagster does not know its version yet, record it, so that the snapshot is linked to it.

    Returns:
        The observed data version.
    """
    require_one_home(context.instance)
    keep_run(context.run_id)
    seen = observe_source(snapshot_node.config, agar_home())
    step = context.get_step_execution_context()
    known = step.maybe_fetch_and_get_input_asset_version_info(dg.AssetKey(SOURCE.asset))  # the version at step start
    if known is None or known.data_version is None or known.data_version.value != seen.version:
        record_observation(context.instance, seen)
        step.fetch_external_input_asset_version_info()
    return seen.version
