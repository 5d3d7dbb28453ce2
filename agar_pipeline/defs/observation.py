"""Looking at the world before a run: the dataset's version, Dagster's memory, and the plan that follows."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.chain import Node
from agar_pipeline.config import SnapshotConfig, agar_home
from agar_pipeline.defs.instance import open_instance, read_records
from agar_pipeline.disk import scratch_folder
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.observe import observe_dataset
from agar_pipeline.plan import PlannedAsset, Seen, make_plan
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Content, Key, Store, describe_files


def plan_now(store: Store, nodes: Mapping[Key, Node]) -> tuple[list[PlannedAsset], dg.DagsterInstance, str | None]:
    """The plan, Dagster's instance, and why the dataset could not be observed (None where it could)."""
    config: SnapshotConfig = nodes[Key("snapshot")].config
    with ThreadPoolExecutor(1) as pool:  # the database answers while Dagster's storage is being imported
        observing = pool.submit(observe_dataset, config, agar_home())
        instance = open_instance()
        records = read_records(instance, nodes)
        try:
            version, trouble = observing.result().version, None
        except PipelineError as error:
            version, trouble = None, str(error)
    seen = Seen(version, records, lambda latest: explain_source(config, latest))
    return make_plan(store, nodes, seen), instance, trouble


def explain_source(config: SnapshotConfig, latest: Path) -> tuple[list[str], Content]:
    """How the dataset differs from the latest snapshot, by taking one now into a folder that is thrown away."""
    from agar_pipeline.snapshot_diff import SnapshotTables, diff_tables, summarize

    with scratch_folder(agar_home(), "plan-") as folder:
        STEPS["snapshot"].build(config, folder, lambda text: None)
        taken = [file for file in describe_files(folder) if file["path"] in Snapshot.files]
        content = Content.of_files(Snapshot, taken)
        before, after = Snapshot(latest), Snapshot(folder)
        diff = diff_tables(
            SnapshotTables(before.images(), before.boxes()), SnapshotTables(after.images(), after.boxes())
        )
    return summarize(diff) or ["the dataset changed, but nothing that the snapshot holds"], content
