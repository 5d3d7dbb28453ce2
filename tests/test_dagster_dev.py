"""`dagster dev` from the checkout: it serves the graph on this machine only, and materializes it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agar_pipeline.store import Key, Store
from tests.conftest import BIN, CHECKOUT, copy_configs, edit_samples, move_first_box, runner

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
    """A real web server on a free port, on a small dataset in a home of its own."""
    from agar_pipeline.plates import generate_plates

    folder = tmp_path_factory.mktemp("dev")
    generate_plates(folder / "plates", 12, size_px=128, seed=5)
    environment = {
        "AGAR_HOME": str(folder / "home"),
        "AGAR_CONFIGS": str(copy_configs(folder / "configs")),
        "AGAR_PIPELINE": "small",
    }
    run = runner(environment)
    assert run("agar", "import", "agar", "--images-dir", str(folder / "plates"), "--dataset", "small").returncode == 0
    exports = run("agar", "env").stdout.splitlines()
    environment |= dict(line.removeprefix("export ").split("=", 1) for line in exports)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "dev.log").open("wb") as log:
        server = subprocess.Popen(
            [str(BIN / "dagster"), "dev", "-p", str(port)],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def query(text: str, **variables: Any) -> Any:
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql", data=body, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    try:
        wait_for(lambda: _answers(query), 120, lambda: (folder / "dev.log").read_text()[-3000:])
        yield query, port, folder / "home"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def _answers(query: Query) -> bool:
    try:
        return bool(query("{ version }"))
    except OSError:
        return False


def wait_for(done: Callable[[], bool], timeout_s: float, explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.5)


def test_the_graph_is_served_on_this_machine_only(dagster_dev: tuple[Query, int, Path]) -> None:
    query, port, _ = dagster_dev
    nodes = query("{ assetNodes { assetKey { path } groupName staleStatus } }")["assetNodes"]
    groups = {"/".join(node["assetKey"]["path"]): node["groupName"] for node in nodes}
    assert groups["small/evaluation"] == "small"
    assert groups["bbox_report"] == "data"
    listening = {c.laddr.ip for c in psutil.net_connections() if c.status == "LISTEN" and c.laddr.port == port}
    assert listening == {"127.0.0.1"}


def test_a_run_launched_in_the_ui_makes_its_assets_fresh(
    dagster_dev: tuple[Query, int, Path],
) -> None:
    query, _, _ = dagster_dev
    data = ("snapshot", "split", "coco_cache", "bbox_report")
    launched = query(LAUNCH, assets=[{"path": [name]} for name in data])["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    status = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'
    wait_for(
        lambda: query(status)["runOrError"]["status"] in ("SUCCESS", "FAILURE", "CANCELED"), 120, lambda: "still going"
    )
    assert query(status)["runOrError"]["status"] == "SUCCESS"
    nodes = query("{ assetNodes { assetKey { path } staleStatus } }")["assetNodes"]
    assert {"/".join(n["assetKey"]["path"]): n["staleStatus"] for n in nodes if n["assetKey"]["path"][0] in data} == (
        dict.fromkeys(data, "FRESH")
    )


def test_the_sensor_notices_an_edit_and_refreshes_the_data_assets(dagster_dev: tuple[Query, int, Path]) -> None:
    query, _, home = dagster_dev
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


def test_nothing_is_written_into_the_checkout(dagster_dev: tuple[Query, int, Path], tmp_path: Path) -> None:
    done = subprocess.run(["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    assert not [line for line in done.stdout.splitlines() if ".tmp_dagster" in line or "mlruns" in line]
