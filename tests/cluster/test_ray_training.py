"""Ranks under Ray on two nodes train what torchrun's train; a worker's death changes nothing in the end."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from agar_pipeline.store import Key, Store
from tests.coco_home import make_home
from tests.conftest import Run
from tests.processes.test_gpu_leases import SAME, losses
from tests.test_interruptions import Training, gone_on_from, processes_of

KEY = Key("training_run", "small")
ON_RAY = ("trainer.launcher=ray", "trainer.num_nodes=2")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    return make_home(tmp_path_factory.mktemp("ray"), train=7)


def ray_workers() -> list[psutil.Process]:
    """The ranks that run now."""
    return [process for process in psutil.process_iter() if process.name().startswith("ray::RayTrainWo")]


def forget_training(home: Path) -> None:
    """Launchers are no part of the fingerprint: it would be found, not trained."""
    for root in Store(home).roots(KEY):
        shutil.rmtree(root)


def test_two_ray_workers_lose_what_two_torchrun_ranks_do(lab: tuple[Run, Path], ray_cluster: dict[str, str]) -> None:
    run, home = lab
    ranks = run("agar", "train", *SAME, "trainer.max_steps=10", "trainer.devices=2")
    assert ranks.returncode == 0, ranks.stderr
    expected = losses(ranks.stdout)
    forget_training(home)
    workers = run("agar", "train", *SAME, "trainer.max_steps=10", *ON_RAY, **ray_cluster)
    assert workers.returncode == 0, workers.stderr
    assert "2 Ray workers on 2 nodes" in workers.stderr
    found = losses(workers.stdout)
    assert len(found) == len(expected) == 10
    assert np.abs(found - expected).max() < 1e-4, f"{found} against {expected}"


def test_a_cluster_that_is_too_small_or_absent_is_refused(lab: tuple[Run, Path], ray_cluster: dict[str, str]) -> None:
    run, _ = lab
    words = (*SAME, "seed=2", "trainer.launcher=ray", "trainer.devices=2")
    large = run("agar", "smoke", *words, **ray_cluster)
    assert large.returncode == 1
    assert "trainer.num_nodes=1 with trainer.devices=2 does not fit the Ray cluster" in large.stderr
    assert "nodes with this number of CPUs: 1, 1" in large.stderr
    absent = run("agar", "smoke", *words, **{**ray_cluster, "RAY_ADDRESS": "127.0.0.1:1"})
    assert absent.returncode == 1
    assert "the Ray cluster at 127.0.0.1:1 cannot be joined: " in absent.stderr
    assert len(absent.stderr.strip().splitlines()) <= 3


def test_what_a_rank_can_explain_is_not_tried_again(lab: tuple[Run, Path], ray_cluster: dict[str, str]) -> None:
    run, _ = lab
    wild = ("optimizer.lr=1e30", "optimizer.warmup_steps=0", "optimizer.clip_norm=null")
    done = run("agar", "smoke", *SAME, *wild, *ON_RAY, **ray_cluster)
    assert done.returncode == 1
    assert "the model finds nothing at all after its first step" in done.stderr
    assert "Ray starts all ranks again" not in done.stderr


def test_a_training_that_is_asked_to_stop_does_on_all_nodes(lab: tuple[Run, Path], ray_cluster: dict[str, str]) -> None:
    _, home = lab
    words = ("trainer.max_steps=null", "trainer.max_epochs=500", "trainer.val_every_n_epochs=100", "seed=3")
    training = Training(home.parent, *SAME, *words, *ON_RAY, **ray_cluster)
    training.wait_for(lambda progress: progress["epoch"] >= 1)
    training.process.terminate()
    asked = time.monotonic()
    code, output = training.ends()
    assert time.monotonic() - asked < 30
    assert code == 130
    assert "run the same command again, it continues from there" in output
    assert not ray_workers()
    assert {process.name() for process in processes_of(home)} <= {"ray::_AutoscalingCoordinatorActor"}, "Ray keeps it"


def test_a_worker_killed_in_the_middle_changes_nothing_in_the_end(
    lab: tuple[Run, Path], ray_cluster: dict[str, str]
) -> None:
    run, home = lab
    words = (
        *SAME,
        "seed=1",
        "trainer.max_steps=null",
        "trainer.max_epochs=30",
        "trainer.val_every_n_epochs=30",
        *ON_RAY,
    )
    undisturbed = run("agar", "train", *words, **ray_cluster)
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = losses(undisturbed.stdout)
    forget_training(home)
    training = Training(home.parent, *words, **ray_cluster)
    training.wait_for(lambda progress: progress["epoch"] >= 2)
    ray_workers()[0].kill()
    code, output = training.ends(300)
    assert code == 0, output
    assert "Ray starts all ranks again" in output
    assert gone_on_from(output) >= 2
    (root,) = Store(home).roots(KEY)
    found = losses(str(root / "checkpoints" / "best.ckpt"))
    assert np.abs(found - expected).max() < 1e-4, f"{found} against {expected}"
