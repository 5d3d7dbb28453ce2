"""A sensor that notices changes of the dataset, and launches stale assets, one run at a time."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import dagster as dg

from agar_pipeline.chain.nodes import SOURCE, AssetNode, without_on_demand
from agar_pipeline.chain.observation import explain_source
from agar_pipeline.chain.plan import Observation, PlannedAsset, make_plan
from agar_pipeline.config import AutoRefresh, SnapshotSource, agar_home
from agar_pipeline.defs.artifact_io import to_asset_key
from agar_pipeline.defs.home_storage import require_one_home
from agar_pipeline.defs.instance import read_records
from agar_pipeline.defs.jobs import gpu_tags
from agar_pipeline.defs.run_locks import fail_dead_runs
from agar_pipeline.defs.source import record_observation
from agar_pipeline.errors import PipelineError
from agar_pipeline.snapshots.sources import hold_source, observe_source
from agar_pipeline.store import Key, Store

IN_FLIGHT = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_held = contextlib.ExitStack()
"""Keeps the database running between evaluations of the sensor, so that an observation takes milliseconds."""


def dataset_sensor(store: Store, nodes: Mapping[Key, AssetNode], auto_refresh: AutoRefresh) -> dg.SensorDefinition:
    """Define the sensor; it launches stale assets only if the pipeline file sets `auto_refresh`."""
    nodes = without_on_demand(nodes)
    config: SnapshotSource = nodes[Key("snapshot")].config

    @dg.sensor(
        name="dataset_changed",
        description="Observes the dataset; launches what is stale where the pipeline file says `auto_refresh`.",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        asset_selection=[to_asset_key(key) for key in nodes],
    )
    def dataset_changed(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        try:
            require_one_home(context.instance)
            version = _observe(context.instance, config)
        except PipelineError as error:
            yield dg.SkipReason(f"the dataset cannot be looked at: {error.in_one_line}")
            return
        explain = partial(explain_source, config) if auto_refresh else _do_not_look
        plan = make_plan(store, nodes, Observation(version, read_records(context.instance, nodes), explain))
        yield _decide(context, plan, version, auto_refresh)

    return dataset_changed


def _do_not_look(latest: Path, source_version: str) -> tuple[list[str], None]:
    """Replace `explain_source` if nothing is launched: its reading would take a second at each evaluation."""
    return ["the dataset changed"], None


def _observe(instance: dg.DagsterInstance, config: SnapshotSource) -> str:
    """Return the dataset's version now; record it only if it differs from the one that Dagster has."""
    _held.close()
    _held.enter_context(hold_source(config, agar_home()))
    seen = observe_source(config, agar_home())
    known = instance.get_latest_data_version_record(dg.AssetKey(SOURCE.asset))
    tags = known.asset_observation.tags if known and known.asset_observation else {}
    if tags.get("dagster/data_version") != seen.version:
        record_observation(instance, seen)
    return seen.version


def _decide(
    context: dg.SensorEvaluationContext, plan: list[PlannedAsset], version: str, auto_refresh: AutoRefresh
) -> dg.RunRequest | dg.SkipReason:
    wanted = [p.key for p in plan if p.state != "fresh" and (auto_refresh == "train" or p.key.experiment is None)]
    if auto_refresh is True:
        wanted = [key for key in wanted if key.asset != "leaderboard"]
    names = ", ".join(str(p.key) for p in plan if p.state != "fresh")
    if not names:
        return dg.SkipReason("all is current")
    if not auto_refresh or not wanted:
        return dg.SkipReason(f"stale: {names}; auto_refresh is {auto_refresh}, so nothing is launched")
    fail_dead_runs(context.instance)
    if context.instance.get_runs_count(dg.RunsFilter(statuses=IN_FLIGHT)):
        return dg.SkipReason(f"stale: {names}; a run is in flight, waiting for its end")
    state = json.dumps([version, [[str(p.key), p.state, *p.reasons] for p in plan if p.key in wanted]])
    if context.cursor == state:
        return dg.SkipReason(f"stale: {names}; launched before for this very state: look at that run")
    context.update_cursor(state)
    tags = {"agar/launched_by": "sensor", **_gpu_tags(wanted)}
    return dg.RunRequest(asset_selection=[to_asset_key(key) for key in wanted], tags=tags)


def _gpu_tags(wanted: list[Key]) -> dict[str, str]:
    """Return the tags that the jobs set, for a run of these assets; values in a run request must be strings."""
    if all(key.experiment is None for key in wanted):
        return {}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in gpu_tags().items()}
