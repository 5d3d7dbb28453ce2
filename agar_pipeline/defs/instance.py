"""Dagster's own storage, which lies in the home, and what it remembers of our assets."""

import os
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
from filelock import FileLock

from agar_pipeline.config import agar_home
from agar_pipeline.defs.artifact_io import to_asset_key
from agar_pipeline.defs.run_locks import fail_dead_runs
from agar_pipeline.plan import Record
from agar_pipeline.store import Key

_INPUT_PREFIX = "dagster/input_data_version/"
_YAML = """\
# Written by agar: the storage that dagster.yaml of the checkout names, for a home that may lie elsewhere.
storage: {{sqlite: {{base_dir: {home}/dagster/storage}}}}
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config: {{base_dir: {home}/dagster}}
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config: {{base_dir: {home}/dagster/logs}}
telemetry: {{enabled: false}}
nux: {{enabled: false}}
concurrency: {{pools: {{default_limit: 1, granularity: run}}}}
"""


def dagster_home() -> Path:
    """Write the home's dagster.yaml where it is not there yet, and point Dagster to it."""
    folder = agar_home() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    text = _YAML.format(home=agar_home())
    path = folder / "dagster.yaml"
    if not path.exists() or path.read_text() != text:
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def open_instance() -> dg.DagsterInstance:
    """The instance of this home. Its tables are made under a lock: two first-ever openings at once would fail.

    Runs whose process is gone are marked as failed.
    """
    with FileLock(dagster_home() / ".instance.lock"):
        instance = dg.DagsterInstance.get()
        fail_dead_runs(instance)
    return instance


def read_records(instance: dg.DagsterInstance, keys: Iterable[Key]) -> dict[Key, Record]:
    """What Dagster remembers of the latest materialization of each asset. A test pins the names of these tags."""
    by_asset_key = {to_asset_key(key): key for key in keys}
    records = {}
    for found in instance.get_asset_records(list(by_asset_key)):
        materialization = found.asset_entry.last_materialization
        if materialization is None or materialization.asset_materialization is None:
            continue
        tags = materialization.asset_materialization.tags or {}
        inputs = {
            name.removeprefix(_INPUT_PREFIX): version
            for name, version in tags.items()
            if name.startswith(_INPUT_PREFIX)
        }
        key = by_asset_key[found.asset_entry.asset_key]
        records[key] = Record(tags.get("dagster/code_version"), tags.get("dagster/data_version"), inputs)
    return records
