"""Cases 2 to 5, and 56: an orchestrator killed, a save cut short, asked to stop once and twice, and during val."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from agar_pipeline.store import Key, find_faults
from tests.acceptance.grading import right
from tests.acceptance.lab import (
    CHILDREN_DIE_WITHIN_S,
    DATA_ASSETS,
    ROUNDS,
    Lab,
    in_full,
    mount,
    wait_until,
)
from tests.coco_home import make_home
from tests.conftest import CHECKOUT
from tests.test_interruptions import Training, gone_on_from, training_root

STOPPED_WITHIN_S = 30


def test_case_02_children_end_with_their_orchestrator_and_its_run_is_shown_as_failed(lab: Lab) -> None:
    shutil.rmtree(lab.home / "artifacts")
    process = lab.start("run", *DATA_ASSETS)
    running = lab.home / "dagster" / "runs"
    wait_until(lambda: any(running.glob("*.lock")), 60, "the run starts")
    assert process.stdout is not None
    for line in process.stdout:
        if "snapshot" in line and "started" in line:
            break
    run_id = next(running.glob("*.lock")).stem
    process.kill()
    process.wait()
    published = lab.published()
    wait_until(lambda: not lab.processes(), CHILDREN_DIE_WITHIN_S, "the orchestrator's children end with it")
    right(lab.published() == published, "an orphan published something")
    lab.run("run", *DATA_ASSETS)
    with sqlite3.connect(lab.home / "dagster" / "storage" / "history" / "runs.db") as storage:
        status = storage.execute("select status from runs where run_id = ?", [run_id]).fetchone()
    right(status == ("FAILURE",), f"the killed run is shown as {status}")
    assert not list(running.glob("*.lock"))


START_TWO_RANKS = """
import sys
from agar_pipeline.processes.launch import run_child
run_child("two_ranks_that_stay", {"marks": sys.argv[1]}, print, ranks=2)
"""
STAY = """
import os, pathlib, time
from agar_pipeline.processes.child import child_main

def stay(request, log):
    pathlib.Path(request["marks"], os.environ["RANK"]).touch()
    time.sleep(100)

if __name__ == "__main__":
    child_main(stay)
"""


def test_case_02_all_ranks_end_with_their_orchestrator(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (tmp_path / "two_ranks_that_stay.py").write_text(STAY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", START_TWO_RANKS, str(tmp_path)]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=lab.env | {"PYTHONPATH": path}, start_new_session=True)
    wait_until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), 60, "both ranks start")
    assert len(lab.processes()) >= 4, "the orchestrator, torchrun, two ranks"
    process.kill()
    process.wait()
    wait_until(lambda: not lab.processes(), CHILDREN_DIE_WITHIN_S, "torchrun and its ranks end with the orchestrator")


def test_case_02_a_training_whose_orchestrator_is_killed_ends_with_it_and_goes_on_later(lab: Lab) -> None:
    experiment = lab.configs / "experiment" / "small.yaml"
    before = experiment.read_text()
    experiment.write_text(before.replace("max_steps: 3", "max_steps: null, max_seconds: 6"))
    try:
        points = partial(lab.home.glob, "resume/small/training_run/*/[ab].json")
        earlier = set(points())  # of other tests
        process = lab.start("run", "--experiment", "small")
        wait_until(lambda: process.poll() is not None or set(points()) - earlier, 90, "a point")
        assert process.poll() is None, process.communicate()[0]
        process.kill()
        published = lab.published()
        process.communicate()
        wait_until(lambda: not lab.processes(), CHILDREN_DIE_WITHIN_S, "the trainer ends with the orchestrator")
        right(lab.published() == published, "an orphan published something")
        assert "an interrupted training continues from epoch" in lab.run("run", "small/training_run")
        assert not find_faults(lab.open("small/training_run").root)
    finally:
        experiment.write_text(before)


def long_training(lab: Lab, *more: str, **env: str) -> subprocess.Popen[str]:
    """A training that ends only when it is ended, with a point to go on from after each of its short epochs."""
    words = ("experiment=small", "trainer.max_steps=null", "trainer.max_epochs=5000", "data.input_size=96", *more)
    return lab.start("train", *words, **env)


def points(lab: Lab, since_ns: int = 0) -> list[Path]:
    found = lab.home.glob("resume/small/training_run/*/[ab].json")
    return [path for path in found if path.stat().st_mtime_ns > since_ns]


def stop(lab: Lab, process: subprocess.Popen[str]) -> str:
    process.terminate()
    output, _ = process.communicate(timeout=STOPPED_WITHIN_S + 5)
    return output


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "other_disk"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_case_03_killed_while_checkpoints_are_saved_the_last_good_one_loads(lab: Lab, other_disk: Path) -> None:
    for round_ in range(ROUNDS):
        said = killed_training(lab, 2 * random.Random(round_).random(), TMPDIR=str(other_disk))
        assert round_ == 0 or "continues from epoch" in said, said
        for path in lab.home.glob("resume/small/training_run/*/checkpoints/*.ckpt"):
            torch.load(path, weights_only=True)
        assert not list(other_disk.rglob("*.ckpt")), "written in their own folder, not moved across disks"
    short = ("trainer.max_epochs=8", "seed=103")
    killed_training(lab, 0, *short)
    process = long_training(lab, VALIDATED, *short)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert "continues from epoch" in output


VALIDATED = "trainer.val_every_n_epochs=1"
"""So that the best is saved in each epoch, too."""


def killed_training(lab: Lab, delay_s: float, *more: str, **env: str) -> str:
    """What a training said that was killed so long after it had written a point."""
    since, process = time.time_ns(), long_training(lab, VALIDATED, *more, **env)
    wait_until(lambda: process.poll() is not None or points(lab, since), 90, "a point")
    time.sleep(delay_s)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    wait_until(lambda: not lab.processes(), CHILDREN_DIE_WITHIN_S, "the trainer ends with its parent")
    return output


@in_full
def test_case_04_a_training_that_is_asked_to_stop_can_be_gone_on_with(lab: Lab) -> None:
    since = time.time_ns()
    process = long_training(lab, "seed=104")
    wait_until(lambda: process.poll() is not None or points(lab, since), 90, "a point")
    asked = time.monotonic()
    output = stop(lab, process)
    assert time.monotonic() - asked < STOPPED_WITHIN_S
    assert process.returncode == 130
    assert "run the same command again, it continues from there" in output
    assert not lab.processes()
    assert not list(lab.home.rglob(".draft-*"))
    since = time.time_ns()
    again = long_training(lab, "seed=104")
    wait_until(lambda: again.poll() is not None or points(lab, since), 90, "a point")
    assert "continues from epoch" in stop(lab, again)


@in_full
def test_case_05_the_second_ctrl_c_is_immediate(lab: Lab) -> None:
    key, since = Key("training_run", "small"), time.time_ns()
    before = lab.store.roots(key)
    process = long_training(lab, "seed=105")
    wait_until(lambda: process.poll() is not None or points(lab, since), 90, "a point")
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    asked = time.monotonic()
    process.communicate(timeout=STOPPED_WITHIN_S)
    assert time.monotonic() - asked < 3
    assert process.returncode == 130
    wait_until(lambda: not lab.processes(), CHILDREN_DIE_WITHIN_S, "its children end")
    right(lab.store.roots(key) == before, "half a training was published")


def test_case_56_a_stop_during_validation_loses_nothing_that_was_trained_before_it(tmp_path: Path) -> None:
    """Val of sixty photos after each of two epochs of four steps; stopped in the first one, killed in the last."""
    words = (
        "experiment=small", "data.input_size=96", "data.batch_size=2", "trainer.max_steps=null", "trainer.max_epochs=2",
        "trainer.log_every_n_steps=1", "model.score_floor=0",
    )  # fmt: skip
    run, home = make_home(tmp_path / "undisturbed", val=60)
    shutil.copytree(home.parent, tmp_path / "lab", symlinks=True)
    done = run("agar", "train", *words)
    assert done.returncode == 0, done.stderr
    first = Training(tmp_path / "lab", *words)
    first.wait_for(lambda progress: progress["epoch"] == 1)
    first.process.terminate()
    code, output = first.ends()
    assert code == 130, output
    second = Training(tmp_path / "lab", *words)
    second.wait_for(lambda progress: progress["epoch"] == 2)
    second.trainers()[0].kill()
    code, output = second.ends()
    assert code == 1, output
    right(gone_on_from(output) == 1, "the first epoch was trained again")
    code, output = Training(tmp_path / "lab", *words).ends()
    assert code == 0, output
    right(gone_on_from(output) == 2, "the last epoch was trained again")
    ours, theirs = training_root(tmp_path / "lab" / "home"), training_root(home)
    for name in ("metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        right((ours / name).read_bytes() == (theirs / name).read_bytes(), f"{name} is another than undisturbed")
