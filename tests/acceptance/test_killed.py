"""Case 1, the longest: killed at any instant, and nothing is lost."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess

import pytest

from agar_pipeline.store import find_faults
from tests.acceptance.grading import right
from tests.acceptance.lab import (
    CHILDREN_DIE_WITHIN_S,
    DATA_ASSETS,
    ROUNDS,
    TRAINING_ASSETS,
    Lab,
    wait_until,
)


def kill_at(lab: Lab, delay_s: float, assets: tuple[str, ...]) -> None:
    """Kill the orchestrator, and nothing else, so long after its start."""
    process = lab.start("run", *assets)
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def states_of_runs(lab: Lab) -> set[str]:
    with sqlite3.connect(lab.home / "dagster" / "storage" / "history" / "runs.db") as storage:
        return {status for (status,) in storage.execute("select distinct status from runs")}


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_case_01_after_kill_9_at_a_random_instant_the_next_run_ends_well(lab: Lab, round_: int) -> None:
    shutil.rmtree(lab.home / "artifacts")
    kill_at(lab, lab.seconds * (round_ + random.Random(round_).random()) / ROUNDS, DATA_ASSETS)
    published = lab.published()
    wait_until(lambda: not lab.processes(), CHILDREN_DIE_WITHIN_S, "the orchestrator's children end with it")
    right(lab.published() == published, "an orphan published something")
    lab.run("run", *DATA_ASSETS)
    lab.require_same()
    assert not [path for path in (lab.home / "artifacts").rglob("*") if path.name.startswith((".draft", ".latest"))]
    assert not list((lab.home / "tmp").glob("child-*"))
    assert not [fault for root in lab.published() for fault in find_faults(root)]
    assert states_of_runs(lab) <= {"SUCCESS", "FAILURE"}


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_case_01_smoke_run_training_or_evaluation_killed_ends_at_the_same_artifact(trained: Lab, round_: int) -> None:
    turn, nth = divmod(round_, len(TRAINING_ASSETS))
    asset, turns = TRAINING_ASSETS[nth], -(-ROUNDS // len(TRAINING_ASSETS))
    shutil.rmtree(trained.home / "artifacts" / asset)
    kill_at(trained, trained.training_seconds[asset] * (turn + random.Random(round_).random()) / turns, (asset,))
    wait_until(lambda: not trained.processes(), CHILDREN_DIE_WITHIN_S, "the orchestrator's children end with it")
    trained.run("run", asset)
    trained.require_same((asset,))
