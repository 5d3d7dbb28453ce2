"""Two processes train the model that one would; the death of one ends the other, and is explained."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from agar_pipeline.config import TrainerConfig, load_experiment
from agar_pipeline.errors import ComputeError
from agar_pipeline.processes import devices, gpu_leases
from agar_pipeline.store import Key, Store
from agar_pipeline.text.plurals import plural
from tests.coco_home import make_home
from tests.conftest import Run
from tests.test_interruptions import Training, processes_of

SAME = (
    "experiment=small", "data.input_size=96", "data.batch_size=4", "data.flip=false", "data.quarter_turns=false",
    "data.brightness=0", "trainer.log_every_n_steps=1",
)  # fmt: skip
KEY = Key("training_run", "small")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    return make_home(tmp_path_factory.mktemp("ranks"), train=7)  # which ranks and batches cannot share evenly


def losses(done: str) -> np.ndarray:
    return pd.read_csv(Path(done.strip()).parents[1] / "metrics.csv")["train_loss"].dropna().to_numpy()


def test_ten_steps_of_two_ranks_lose_what_ten_steps_of_one_do(lab: tuple[Run, Path]) -> None:
    run, home = lab
    one = run("agar", "train", *SAME, "trainer.max_steps=10")
    assert one.returncode == 0, one.stderr
    alone = losses(one.stdout)
    for link in (home / "artifacts" / "small" / "training_run").glob("[0-9a-f]*"):
        link.rename(home / link.name)  # devices are no part of the fingerprint: it would be found, not trained
    two = run("agar", "train", *SAME, "trainer.max_steps=10", "trainer.devices=2")
    assert two.returncode == 0, two.stderr
    assert "2 processes communicate over the network interface lo" in two.stderr
    root = Path(two.stdout.strip()).parents[1]
    experiment = json.loads((root / "experiment.json").read_text())
    assert experiment["world_size"] == 2
    pair = losses(two.stdout)
    assert len(alone) == len(pair) == 10
    assert np.abs(alone - pair).max() < 1e-4, f"{alone} against {pair}"


def test_a_sweep_over_two_values_leaves_two_artifacts(lab: tuple[Run, Path]) -> None:
    run, home = lab
    before = set(Store(home).roots(KEY))
    done = run("agar", "train", "-m", *SAME, "trainer.max_steps=1", "optimizer.lr=1e-3,2e-3")
    assert done.returncode == 0, done.stderr
    roots = [Path(line).parents[1] for line in done.stdout.splitlines()]
    assert set(Store(home).roots(KEY)) - before == set(roots)
    rates = [json.loads((root / "experiment.json").read_text())["config"]["optimizer"]["lr"] for root in roots]
    assert rates == [0.001, 0.002]


def test_a_killed_rank_ends_the_other_within_a_minute_and_is_explained(lab: tuple[Run, Path]) -> None:
    _, home = lab
    words = ("trainer.max_steps=null", "trainer.max_epochs=500", "trainer.val_every_n_epochs=100")
    training = Training(home.parent, *SAME, *words, "trainer.devices=2")
    training.wait_for(lambda progress: progress["epoch"] >= 1)
    victim = next(rank for rank in training.trainers() if rank.environ().get("RANK") == "1")
    victim.kill()
    killed = time.monotonic()
    code, output = training.ends()
    assert time.monotonic() - killed < 60
    assert code == 1
    assert "rank 1 ended with exit code -9 (SIGKILL), it was killed from outside" in output
    assert not processes_of(home)
    assert not [
        root for root in Store(home).roots(Key("training_run", "small")) if not (root / "manifest.json").exists()
    ]
    assert list((home / "resume" / "small" / "training_run").glob("*/[ab].json")), "it can be gone on with"


def test_two_ranks_stop_together_when_asked(lab: tuple[Run, Path]) -> None:
    _, home = lab
    words = ("trainer.max_steps=null", "trainer.max_epochs=500", "trainer.val_every_n_epochs=100", "seed=1")
    training = Training(home.parent, *SAME, *words, "trainer.devices=2")
    training.wait_for(lambda progress: progress["epoch"] >= 1)
    training.process.terminate()
    asked = time.monotonic()
    code, output = training.ends()
    assert time.monotonic() - asked < 30
    assert code == 130
    assert "run the same command again, it continues from there" in output
    assert not processes_of(home)


def test_more_devices_than_there_are_is_refused_before_anything_heavy_is_loaded(lab: tuple[Run, Path]) -> None:
    run, _ = lab
    started = time.monotonic()
    cores = devices.count_cores()
    many = run("agar", "train", *SAME, f"trainer.devices={4 * cores}", f"data.batch_size={4 * cores}")
    cuda = run("agar", "train", *SAME, "trainer.accelerator=cuda", CUDA_VISIBLE_DEVICES="")
    for done, told in (
        (many, f"is more than this machine's {plural(cores, 'core')}"),
        (cuda, "is more than 0 visible CUDA devices"),
    ):
        assert done.returncode == 1
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 4
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("word", "code", "told"),
    [
        ("model.name=tinny", 2, "write tiny, if you mean that"),
        ("model.weights=/nowhere/best.pth", 2, "model.weights=/nowhere/best.pth is neither a file nor weights of tiny"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_torch_is_loaded(
    lab: tuple[Run, Path], tmp_path: Path, word: str, code: int, told: str
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was loaded')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = lab[0]("agar", "train", *SAME, word, PYTHONPATH=path)
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3


def test_ray_is_an_extra_that_its_absence_names(lab: tuple[Run, Path], tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(name='ray')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = lab[0]("agar", "smoke", *SAME, "seed=5", "trainer.launcher=ray", PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the package ray is not installed",
        "`make setup-cluster`, or pip install 'agar_pipeline[cluster]'",
    ]


def test_other_launchers_that_are_there_are_not_asked(lab: tuple[Run, Path], tmp_path: Path) -> None:
    """Lightning would start MPI where mpi4py is installed, and where MPI cannot start it ends the process."""
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").touch()
    (tmp_path / "mpi4py/MPI.py").write_text("import os\nos._exit(1)\n")
    (tmp_path / "mpi4py-4.1.0.dist-info").mkdir()
    (tmp_path / "mpi4py-4.1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mpi4py\nVersion: 4.1.0\n")
    slurm = {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"}
    done = lab[0]("agar", "train", "experiment=small", "seed=17", PYTHONPATH=str(tmp_path), **slurm)
    assert done.returncode == 0, done.stderr


def test_two_gpus_in_the_machine_are_no_reason_to_use_two(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from agar_pipeline.detection.loading.devices import Site

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("demo", "baseline"):
        config = load_experiment(name).training_run
        assert (config.trainer.devices, config.trainer.num_nodes) == (1, 1)
        assert Site.find(config, print).world.size == 1


def test_a_gpu_is_one_runs_at_a_time_and_death_frees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    trainer = TrainerConfig(max_steps=1, accelerator="cuda")
    with gpu_leases.leased(trainer, tmp_path, print) as first, gpu_leases.leased(trainer, tmp_path, print) as second:
        assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("3", "5")
    heard: list[str] = []
    child = os.fork()
    if child == 0:
        with gpu_leases.leased(TrainerConfig(max_steps=1, accelerator="cuda", devices=2), tmp_path, print):
            (tmp_path / "held").touch()
            time.sleep(100)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)

    def hear(text: str) -> None:
        heard.append(text)
        psutil.Process(child).kill()
        os.waitpid(child, 0)

    with gpu_leases.leased(trainer, tmp_path, hear) as env:
        assert env["CUDA_VISIBLE_DEVICES"] == "3"
    assert heard == ["GPU 3 is used by another run of this home; this run waits for it"]


def test_an_interface_that_is_not_there_is_refused(tmp_path: Path) -> None:
    trainer = TrainerConfig(max_steps=1, accelerator="cpu", devices=2, socket_ifname="nope0")
    with (
        pytest.raises(
            ComputeError,
            match=r"socket_ifname=nope0 is not a network interface that is up\n.* one of .*lo",
        ),
        gpu_leases.leased(trainer, tmp_path, print),
    ):
        pass
