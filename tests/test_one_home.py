"""Artifacts and Dagster's history are of one home: plain `dagster` follows AGAR_HOME, or nothing is computed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from agar_pipeline.defs.plain_name import plainly_named
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Key, Store
from tests.cluster.processes import free_port
from tests.coco_home import describe_plates
from tests.conftest import BIN, CHECKOUT, Run, copy_configs, runner

MATERIALIZE = ("asset", "materialize", "-m", "agar_pipeline.definitions", "--select", "snapshot,split")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A caller of commands that names neither home, with twelve plates as COCO files; and the folder for homes."""
    folder = tmp_path_factory.mktemp("lab")
    images = folder / "images"
    generate_plates(images, 12, 96, 0, None, (3, 8))
    (folder / "train.json").write_text(json.dumps(describe_plates(images, range(1, 13), 96)))
    source = {"source": "coco", "dataset": "p", "images_dir": str(images)}
    pipeline = {"snapshot": {**source, "files": {"train": str(folder / "train.json")}}, "experiments": []}
    pipeline["split"] = {"method": "random", "seed": 0, "fractions": {"train": 0.8, "val": 0.2}}
    configs = copy_configs(folder / "configs")
    (configs / "pipeline" / "plates.yaml").write_text(yaml.safe_dump(pipeline))
    return runner({"AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "plates"}), folder


def runs_in(run: Run, home: Path) -> int:
    listed = run("dagster", "run", "list", DAGSTER_HOME=str(plainly_named(home / "dagster")), AGAR_HOME=str(home))
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.count("Run: ")


def test_plain_dagster_writes_artifacts_and_history_into_the_home_that_is_named(lab: tuple[Run, Path]) -> None:
    run, folder = lab
    before = {path.name for path in folder.iterdir()}
    for name in ("first", """ä, {b} [c] #d: e "f" 'g' %20 $h ?i*"""):
        home = folder / name
        done = run("dagster", *MATERIALIZE, AGAR_HOME=str(home))
        assert done.returncode == 0, done.stderr[-3000:]
        assert Store(home).latest(Key("split"))
        plan = run("agar", "plan", "--json", AGAR_HOME=str(home))
        states = {line["asset"]: line["state"] for line in json.loads(plan.stdout)["assets"]}
        assert (states["snapshot"], states["split"]) == ("fresh", "fresh"), plan.stdout
        assert runs_in(run, home) == 1
        exports = run("agar", "env", AGAR_HOME=str(home)).stdout
        shown = subprocess.run(["bash", "-c", f'{exports}cat "$DAGSTER_HOME/dagster.yaml"'], capture_output=True)
        assert shown.stdout == (home / "dagster" / "dagster.yaml").read_bytes(), "a shell finds it"
    assert {path.name for path in folder.iterdir()} - before == {"first", name}
    assert not list(CHECKOUT.glob(".tmp_dagster_home_*"))


def test_a_home_may_move_with_its_history(lab: tuple[Run, Path]) -> None:
    run, folder = lab
    home = folder / "stays"
    assert run("agar", "run", "snapshot", AGAR_HOME=str(home)).returncode == 0
    moved = home.rename(folder / "moved")
    assert runs_in(run, moved) == 1
    assert not home.exists()


def test_dagster_pointed_to_another_home_computes_nothing(lab: tuple[Run, Path], tmp_path: Path) -> None:
    run, folder = lab
    one, other = folder / "one", folder / "other"
    assert run("agar", "env", AGAR_HOME=str(one)).returncode == 0
    theirs = tmp_path / "theirs"  # a DAGSTER_HOME of somebody's own
    theirs.mkdir()
    (theirs / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    for exported in (one / "dagster", theirs):
        done = run("dagster", *MATERIALIZE, AGAR_HOME=str(other), DAGSTER_HOME=str(exported))
        assert done.returncode != 0
        assert 'point both to one home: eval "$(agar env)"' in done.stderr + done.stdout
        assert not (other / "artifacts").exists()
    assert run("agar", "run", "snapshot", AGAR_HOME=str(other), DAGSTER_HOME=str(one / "dagster")).returncode == 0
    assert runs_in(run, other) == 1
    assert runs_in(run, one) == 0, "agar points Dagster to its own home"


def test_plain_dagster_does_not_begin_a_second_history_where_the_first_is_in_postgres(lab: tuple[Run, Path]) -> None:
    run, folder = lab
    url = "postgresql+psycopg2://agar:secret@127.0.0.1:9/none"
    done = run("dagster", *MATERIALIZE, AGAR_HOME=str(folder / "postgres"), AGAR_DAGSTER_POSTGRES_URL=url)
    assert done.returncode != 0
    assert "in Postgres, not in files" in done.stderr + done.stdout
    assert "secret" not in done.stderr + done.stdout


def test_dagster_dev_says_once_which_home_it_serves(lab: tuple[Run, Path]) -> None:
    _, folder = lab
    home = folder / "served"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGAR_", "DAGSTER_"))}
    env |= {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(folder / "configs"), "AGAR_PIPELINE": "plates"}
    log = folder / "dev.log"
    port = free_port()
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(BIN / "dagster"), "dev", "-p", str(port)],
            cwd=CHECKOUT, env=env, stdout=output, stderr=subprocess.STDOUT,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while "Serving dagster-webserver" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    assert log.read_text().count(f"the home is {home}") == 1, log.read_text()
    assert (home / "dagster" / "storage" / "history").is_dir()
