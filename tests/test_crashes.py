"""After any crash the next run ends well, without cleaning up by hand; two runs at once do not disturb one another."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest

from agar_pipeline.errors import ComputeError
from agar_pipeline.launch import run_child
from agar_pipeline.plates import generate_plates
from agar_pipeline.store import Key, Store, find_faults
from tests.conftest import BIN, CHECKOUT, DATABASE_IDLE_S, copy_configs

DATA_ASSETS = ("snapshot", "split", "coco_cache", "bbox_report")
ROUNDS = int(os.environ.get("AGAR_CRASH_ROUNDS", "3"))
CHILDREN_DIE_WITHIN_S = 10
SERVICES = ("mongod", "agar_pipeline.fiftyone_io.keeper")
"""They outlive their clients on purpose, by seconds."""


@dataclass
class Lab:
    """A home with a dataset, and what an undisturbed run makes of it."""

    home: Path
    configs: Path
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def env(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
        own = {"AGAR_HOME": str(self.home), "AGAR_CONFIGS": str(self.configs), "AGAR_PIPELINE": "small"}
        return kept | own | {"AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "agar"), *arguments],
            cwd=CHECKOUT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def read_versions(self) -> dict[str, str]:
        return {name: Store(self.home).open_latest(Key(name)).data_version for name in DATA_ASSETS}

    def published(self) -> list[Path]:
        return sorted(Store(self.home).published())

    def children(self) -> list[psutil.Process]:
        """Processes that work for this home, but for the database."""
        return [process for process in psutil.process_iter() if _works_for(process, self.home)]


def _works_for(process: psutil.Process, home: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.environ().get("AGAR_HOME") != str(home):
            return False
        return not any(service in word for word in process.cmdline() for service in SERVICES)
    except psutil.Error:
        return False


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("crashes")
    lab = Lab(folder / "home", copy_configs(folder / "configs"))
    generate_plates(folder / "plates", 12, size_px=128, seed=5)
    lab.run("import", "agar", "--images-dir", str(folder / "plates"), "--dataset", "small")
    started = time.monotonic()
    lab.run("run", *DATA_ASSETS)
    lab.seconds, lab.versions = time.monotonic() - started, lab.read_versions()
    yield lab
    shutil.rmtree(folder)


def kill_at(lab: Lab, delay_s: float) -> None:
    """Kill the orchestrator, and nothing else, so long after its start."""
    process = lab.start("run", *DATA_ASSETS)
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_after_kill_9_at_a_random_instant_the_next_run_ends_well(lab: Lab, round_: int) -> None:
    shutil.rmtree(lab.home / "artifacts")
    kill_at(lab, lab.seconds * (round_ + random.Random(round_).random()) / ROUNDS)
    published = lab.published()
    wait_until(lambda: not lab.children(), CHILDREN_DIE_WITHIN_S, "the orchestrator's children end with it")
    assert lab.published() == published, "no orphan publishes anything"
    lab.run("run", *DATA_ASSETS)
    assert lab.read_versions() == lab.versions
    assert not [path for path in (lab.home / "artifacts").rglob("*") if path.name.startswith((".draft", ".latest"))]
    assert not list((lab.home / "tmp").glob("child-*"))
    assert not [fault for root in lab.published() for fault in find_faults(root)]
    with sqlite3.connect(lab.home / "dagster" / "storage" / "history" / "runs.db") as storage:
        states = dict(storage.execute("select status, count(*) from runs group by status"))
    assert set(states) <= {"SUCCESS", "FAILURE"}, states


def test_a_killed_run_is_shown_as_failed_at_the_next_start(lab: Lab) -> None:
    shutil.rmtree(lab.home / "artifacts")
    process = lab.start("run", *DATA_ASSETS)
    running = lab.home / "dagster" / "runs"
    wait_until(lambda: any(running.glob("*.lock")), 60, "the run starts")
    assert process.stdout is not None
    for line in process.stdout:
        if "snapshot" in line and "started" in line:
            break
    run_id = next(running.glob("*.lock")).stem
    lab.run("env")  # looks at nothing
    process.kill()
    process.wait()
    lab.run("run", *DATA_ASSETS)
    with sqlite3.connect(lab.home / "dagster" / "storage" / "history" / "runs.db") as storage:
        status = storage.execute("select status from runs where run_id = ?", [run_id]).fetchone()
    assert status == ("FAILURE",)
    assert not list(running.glob("*.lock"))


def test_a_full_disk_ends_the_run_in_clear_words_and_the_next_one_goes_on(lab: Lab) -> None:
    artifacts = lab.home / "artifacts"
    shutil.rmtree(artifacts)
    artifacts.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(artifacts)]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        process = lab.start("run", *DATA_ASSETS)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1, output
        assert re.search(r"(split|coco_cache) needs more than the .* it had written; [\d.]+ kB are free", output), (
            output
        )
        assert "Traceback" not in output
        assert not [fault for root in lab.published() for fault in find_faults(root)]
        assert not list(artifacts.rglob(".draft-*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(artifacts)], check=True)
        lab.run("run", *DATA_ASSETS)
        assert lab.read_versions() == lab.versions
    finally:
        subprocess.run(["umount", str(artifacts)], check=True)


START_TWO_RANKS = """
import sys
from agar_pipeline.launch import run_child
run_child("two_ranks_that_stay", {"marks": sys.argv[1]}, print, ranks=2)
"""
STAY = """
import os, pathlib, time
from agar_pipeline.launch import child_main

def stay(request, log):
    pathlib.Path(request["marks"], os.environ["RANK"]).touch()
    time.sleep(100)

if __name__ == "__main__":
    child_main(stay)
"""


def test_all_ranks_end_with_their_orchestrator(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "home", tmp_path)
    (tmp_path / "two_ranks_that_stay.py").write_text(STAY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", START_TWO_RANKS, str(tmp_path)]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=lab.env | {"PYTHONPATH": path}, start_new_session=True)
    wait_until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), 60, "both ranks start")
    assert len(lab.children()) >= 4, "the orchestrator, torchrun, two ranks"
    process.kill()
    process.wait()
    wait_until(lambda: not lab.children(), CHILDREN_DIE_WITHIN_S, "torchrun and its ranks end with the orchestrator")


def test_two_runs_at_once_compute_each_asset_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(lab.home / "artifacts")
    shutil.rmtree(lab.home / "dagster")  # the very first opening of the storage, too
    pair = [lab.start("run", *DATA_ASSETS) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], "\n".join(outputs)
    assert any("another process builds it, waiting for it" in output for output in outputs), "\n".join(outputs)
    assert lab.read_versions() == lab.versions
    assert len(lab.published()) == len(DATA_ASSETS)
    monkeypatch.setenv("DAGSTER_HOME", str(lab.home / "dagster"))
    with dg.DagsterInstance.get() as instance:
        for name in DATA_ASSETS:
            events = instance.fetch_materializations(dg.AssetKey(name), limit=10).records
            cached = [record.asset_materialization.metadata["cached"].value for record in events]  # type: ignore[union-attr]
            assert cached.count(False) == 1, f"{name}: {cached}"


def test_a_training_whose_orchestrator_is_killed_ends_with_it_and_goes_on_later(lab: Lab) -> None:
    experiment = lab.configs / "experiment" / "small.yaml"
    experiment.write_text(experiment.read_text().replace("max_steps: 3", "max_steps: null, max_seconds: 6"))
    process = lab.start("run", "--experiment", "small")
    wait_until(
        lambda: process.poll() is not None or any(lab.home.glob("resume/small/training_run/*/[ab].json")), 60, "a point"
    )
    assert process.poll() is None, process.communicate()[0]
    process.kill()
    published = lab.published()
    process.communicate()
    wait_until(lambda: not lab.children(), CHILDREN_DIE_WITHIN_S, "the trainer ends with the orchestrator")
    assert lab.published() == published, "no orphan publishes anything"
    output = lab.run("run", "small/training_run")
    assert "of an interrupted training" in output
    assert not find_faults(Store(lab.home).open_latest(Key("training_run", "small")).root)


SEGFAULT = """
import os, signal, time
from agar_pipeline.launch import child_main

def crash(request, log):
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(100)

if __name__ == "__main__":
    child_main(crash)
"""


def test_a_rank_that_ends_with_minus_11_is_explained(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a_rank_that_crashes.py").write_text(SEGFAULT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    started = time.monotonic()
    with pytest.raises(ComputeError) as caught:
        run_child("a_rank_that_crashes", {}, print, ranks=2, env={"PYTHONPATH": path})
    assert time.monotonic() - started < 60
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "rank 1 ended with exit code -11 (SIGSEGV), segmentation fault: run `agar verify` and look at the bbox report"
    )
    assert first.endswith("all other ranks were stopped")
    assert second.startswith(f"its output is in {home}")
