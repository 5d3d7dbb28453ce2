"""`dagster dev` from the checkout: it serves the graph on this machine only, and materializes it."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agar_pipeline.store import Key, Store
from tests.conftest import CHECKOUT, edit_samples, move_first_box
from tests.dagster_server import serve, trainers, wait_for

Query = Callable[..., Any]

LAUNCH = """
mutation ($assets: [AssetKeyInput!]!) {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "agar_pipeline.definitions", repositoryName: "__repository__",
      jobName: "__ASSET_JOB", assetSelection: $assets
    }
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""


@pytest.fixture(scope="module")
def dagster_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Query, int, Path]]:
    with serve(tmp_path_factory.mktemp("dev")) as server:
        yield server.query, server.port, server.home


DATA = ("snapshot", "split", "coco_cache", "bbox_report")


@pytest.fixture(scope="module")
def built(dagster_dev: tuple[Query, int, Path]) -> tuple[Query, int, Path]:
    """The same, with the data assets built."""
    assert _launch_and_wait(dagster_dev[0], *DATA) == "SUCCESS"
    return dagster_dev


def test_the_graph_is_served_on_this_machine_only(dagster_dev: tuple[Query, int, Path]) -> None:
    query, port, _ = dagster_dev
    nodes = query("{ assetNodes { assetKey { path } groupName staleStatus } }")["assetNodes"]
    groups = {"/".join(node["assetKey"]["path"]): node["groupName"] for node in nodes}
    assert groups["small/evaluation"] == "small"
    assert groups["bbox_report"] == "data"
    listening = {c.laddr.ip for c in psutil.net_connections() if c.status == "LISTEN" and c.laddr.port == port}
    assert listening == {"127.0.0.1"}


def _launch_and_wait(query: Query, *names: str) -> str:
    launched = query(LAUNCH, assets=[{"path": [name]} for name in names])["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    status = f'{{ runOrError(runId: "{launched["run"]["runId"]}") {{ ... on Run {{ status }} }} }}'
    wait_for(
        lambda: query(status)["runOrError"]["status"] in ("SUCCESS", "FAILURE", "CANCELED"), 120, lambda: "still going"
    )
    return str(query(status)["runOrError"]["status"])


def test_a_run_launched_in_the_ui_makes_its_assets_fresh(
    dagster_dev: tuple[Query, int, Path],
) -> None:
    query, _, _ = dagster_dev
    assert _launch_and_wait(query, *DATA) == "SUCCESS"
    nodes = query("{ assetNodes { assetKey { path } staleStatus } }")["assetNodes"]
    assert {"/".join(n["assetKey"]["path"]): n["staleStatus"] for n in nodes if n["assetKey"]["path"][0] in DATA} == (
        dict.fromkeys(DATA, "FRESH")
    )


def test_a_report_opens_from_the_link_that_the_ui_shows(built: tuple[Query, int, Path]) -> None:
    query, port, home = built
    for name in ("split", "bbox_report"):
        page = Store(home).open_latest(Key(name)).root / "report.html"
        links = "metadataEntries { label ... on UrlMetadataEntry { url } }"
        (node,) = query(
            f'{{ assetNodes(assetKeys: [{{path: ["{name}"]}}]) {{ assetMaterializations(limit: 1) {{ {links} }} }} }}'
        )["assetNodes"]
        entries = {entry["label"]: entry.get("url") for entry in node["assetMaterializations"][0]["metadataEntries"]}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{entries['open_report']}", timeout=30) as answer:
            assert answer.read() == page.read_bytes()
            assert answer.headers["content-type"].startswith("text/html")


def test_the_dataset_is_observed_from_the_ui(dagster_dev: tuple[Query, int, Path]) -> None:
    query, _, _ = dagster_dev
    assert _launch_and_wait(query, "fiftyone_dataset") == "SUCCESS"
    seen = "{ assetNodes { assetKey { path } assetObservations(limit: 1) { tags { key value } } } }"
    (node,) = [node for node in query(seen)["assetNodes"] if node["assetKey"]["path"] == ["fiftyone_dataset"]]
    tags = {tag["key"]: tag["value"] for tag in node["assetObservations"][0]["tags"]}
    assert len(tags["dagster/data_version"]) >= 32


TERMINATE = """
mutation ($run: String!) { terminateRun(runId: $run) { __typename ... on PythonError { message } } }
"""


def test_a_training_terminated_in_the_ui_ends_in_time_and_can_be_gone_on_with(
    built: tuple[Query, int, Path],
) -> None:
    query, _, home = built
    experiment = home.parent / "configs" / "experiment" / "other.yaml"
    short = experiment.read_text()
    long = "trainer: {max_epochs: 5000, val_every_n_epochs: 5000, accelerator: cpu}\n"
    experiment.write_text(short.partition("trainer:")[0] + long)
    try:
        _terminate_training(query, home)
    finally:
        experiment.write_text(short)


def _terminate_training(query: Query, home: Path) -> None:
    assets = [{"path": ["other", name]} for name in ("smoke_run", "training_run")]
    run_id = query(LAUNCH, assets=assets)["launchRun"]["run"]["runId"]
    status = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'
    work = home / "resume" / "other" / "training_run"
    wait_for(lambda: bool(list(work.glob("*/[ab].json"))), 240, lambda: str(query(status)))
    before = max(path.stat().st_mtime_ns for path in work.glob("*/[ab].json"))
    assert query(TERMINATE, run=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    wait_for(lambda: not trainers(home), 30, lambda: f"still there: {trainers(home)}")
    wait_for(lambda: query(status)["runOrError"]["status"] == "CANCELED", 30, lambda: str(query(status)))
    assert max(path.stat().st_mtime_ns for path in work.glob("*/[ab].json")) > before, "a last point was written"
    assert not list((home / "artifacts" / "other").glob("training_run/.draft-*"))
    assert Store(home).latest(Key("training_run", "other")) is None


def test_the_sensor_notices_an_edit_and_refreshes_the_data_assets(built: tuple[Query, int, Path]) -> None:
    query, _, home = built
    store, key = Store(home), Key("coco_cache")
    before = store.open_latest(key).data_version
    edit_samples(home, "small", move_first_box)
    wait_for(lambda: store.open_latest(key).data_version != before, 180, lambda: "the sensor launched nothing")
    launched = '{ runsOrError(filter: {tags: [{key: "agar/launched_by", value: "sensor"}]}) { ... on Runs %s } }'
    results = "{ results { status assetSelection { path } } }"
    runs = query(launched % results)["runsOrError"]["results"]
    assert runs
    assert not {"small", "other"} & {asset["path"][0] for run in runs for asset in run["assetSelection"]}, (
        "auto_refresh: true stops before training"
    )


RELOAD = """
mutation { reloadRepositoryLocation(repositoryLocationName: "agar_pipeline.definitions") { __typename } }
"""
RUNS = "{ runsOrError { ... on Runs { results { runId status tags { key value } assetSelection { path } } } } }"
whole_chain = pytest.mark.skipif(
    not os.environ.get("AGAR_WHOLE_CHAIN"), reason="trains two experiments: two quiet minutes, AGAR_WHOLE_CHAIN=1"
)
IN_FLIGHT = {"NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING"}


@whole_chain
@pytest.mark.timeout(1800)
def test_auto_refresh_train_runs_the_whole_chain_one_run_at_a_time(dagster_dev: tuple[Query, int, Path]) -> None:
    query, _, home = dagster_dev
    pipeline = home.parent / "configs" / "pipeline" / "small.yaml"
    pipeline.write_text(pipeline.read_text().replace("auto_refresh: true", "auto_refresh: train"))
    assert query(RELOAD)["reloadRepositoryLocation"]["__typename"] == "WorkspaceLocationEntry"
    store, edits, most, deadline = Store(home), False, 0, time.monotonic() + 1500
    while not edits or not _all_fresh(query):
        runs = query(RUNS)["runsOrError"]["results"]
        in_flight = [run["runId"] for run in runs if run["status"] in IN_FLIGHT]
        most = max(most, len(in_flight))
        assert "FAILURE" not in {run["status"] for run in runs}, runs
        if not edits and in_flight and store.latest(Key("smoke_run", "small")):  # while it trains
            edit_samples(home, "small", lambda samples: samples.update_one({}, {"$addToSet": {"tags": "seen"}}))
            edits = True
        assert time.monotonic() < deadline, runs
        time.sleep(0.5)
    assert most == 1, "never a second run while one is in flight"
    assert store.open_latest(Key("leaderboard")).table()["experiment"].nunique() == 2


@whole_chain
def test_only_the_edited_experiment_is_stale_in_the_ui(dagster_dev: tuple[Query, int, Path]) -> None:
    query, _, home = dagster_dev
    pipeline = home.parent / "configs" / "pipeline" / "small.yaml"
    pipeline.write_text(pipeline.read_text().replace("auto_refresh: train", "auto_refresh: false"))
    experiment = home.parent / "configs" / "experiment" / "other.yaml"
    experiment.write_text(experiment.read_text() + "optimizer: {lr: 0.5}\n")
    query(RELOAD)
    nodes = query("{ assetNodes { assetKey { path } staleStatus staleCauses { reason } } }")["assetNodes"]
    stale = {"/".join(node["assetKey"]["path"]) for node in nodes if node["staleStatus"] != "FRESH"}
    assert stale == {"other/smoke_run", "other/training_run"}, "Dagster looks one step ahead"


def _all_fresh(query: Query) -> bool:
    nodes = query("{ assetNodes { assetKey { path } staleStatus } }")["assetNodes"]
    runs = query(RUNS)["runsOrError"]["results"]
    return all(node["staleStatus"] in ("FRESH", None) for node in nodes) and not any(
        run["status"] in IN_FLIGHT for run in runs
    )


def test_nothing_is_written_into_the_checkout(dagster_dev: tuple[Query, int, Path], tmp_path: Path) -> None:
    done = subprocess.run(["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    assert not [line for line in done.stdout.splitlines() if ".tmp_dagster" in line or "mlruns" in line]
