"""What stops a training says why, on which images, and what to do; what was good stays."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agar_pipeline.coco.columns import read_coco
from agar_pipeline.config import TrainingConfig, load_experiment
from agar_pipeline.detection.models.checkpoint import load_checkpoint
from agar_pipeline.detection.training.out_of_memory import explain_memory, is_out_of_memory
from agar_pipeline.detection.training.resume import ResumePoints
from agar_pipeline.detection.training.train import train
from agar_pipeline.errors import ArtifactError, TrainingError
from agar_pipeline.store import Key, Store
from tests.coco_home import make_home
from tests.conftest import CHECKOUT


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("failing"))[1]


def config(*overrides: str) -> TrainingConfig:
    small = ("data.input_size=96", "data.batch_size=2", "trainer.max_steps=null", "trainer.accelerator=cpu")
    return load_experiment("tiny_steps", [*small, *overrides]).training_run


def run(home: Path, points: ResumePoints, out_dir: Path, *overrides: str) -> None:
    cache = Store(home).open_latest(Key("coco_cache"))
    learnt, chosen_on = (read_coco(cache.json_path(part)) for part in ("train", "val"))
    out_dir.mkdir()
    train(config(*overrides), learnt, chosen_on, cache.images_dir, out_dir, print, points=points)


def test_a_loss_that_is_not_finite_stops_at_once_names_the_images_and_keeps_the_best(
    home: Path, tmp_path: Path
) -> None:
    points = ResumePoints(tmp_path / "work", {})
    run(home, points, tmp_path / "good", "trainer.max_epochs=1", "model.score_floor=0")
    point = points.load()
    assert point is not None
    step = point["progress"]["step"]
    best = torch.load(tmp_path / "work" / "checkpoints" / "best.ckpt", weights_only=True)
    with pytest.raises(TrainingError) as caught:
        run(home, points, tmp_path / "bad", "trainer.max_epochs=9", "optimizer.lr=1e30", "optimizer.clip_norm=null")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any(f"at step {step + later} " in lines[0] for later in range(4)), lines[0]
    assert ".jpg" in lines[0]
    assert "the best model so far" in lines[0]
    assert "lower optimizer.lr" in lines[1]
    kept = torch.load(tmp_path / "work" / "checkpoints" / "best.ckpt", weights_only=True)
    assert kept["step"] == best["step"]
    for name, value in best["state_dict"].items():
        assert torch.equal(kept["state_dict"][name], value)


LITTLE_MEMORY = """
import re, resource, sys
from pathlib import Path
from tests.test_failing import ResumePoints, TrainingError, run
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 1_500_000_000,) * 2)
folder = Path(sys.argv[2])
try:
    run(Path(sys.argv[1]), ResumePoints(folder / "work", {}), folder / "out", "trainer.max_epochs=1",
        "data.input_size=2048", "data.batch_size=8")
except TrainingError as error:
    print("told:", error)
"""


def test_out_of_memory_names_the_batch_and_what_would_fit(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LITTLE_MEMORY, str(home), str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=200)
    assert "told: memory ran out at data.batch_size=8, data.input_size=2048, on" in done.stdout, done.stderr[-2000:]
    assert ".jpg" in done.stdout
    assert "set data.batch_size=4 or data.input_size=1408, to need about half of the memory" in done.stdout


def test_out_of_memory_in_tiles_names_their_size() -> None:
    told = explain_memory(config("data.tiles={size: 512}", "trainer.max_epochs=1"), "7.jpg", MemoryError())
    assert "at data.batch_size=2, data.tiles.size=512, on 7.jpg" in told.what
    assert "data.batch_size=1 or data.tiles.size=352" in (told.next_step or "")


def test_a_training_that_gets_no_better_ends_early(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    points = ResumePoints(tmp_path / "work", {})
    run(home, points, tmp_path / "out", "trainer.max_epochs=50", "trainer.patience=2", "optimizer.lr=1e-12")
    assert "training ends early: val map has not risen in 2 validations" in capsys.readouterr().out
    assert torch.load(tmp_path / "out" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] in (1, 2)


def test_an_altered_checkpoint_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "0123" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"trained")
    listed = {"path": "checkpoints/best.ckpt", "sha256": hashlib.sha256(b"trained").hexdigest()}
    (tmp_path / "0123" / "manifest.json").write_text(json.dumps({"files": [listed]}))
    with pytest.raises(ArtifactError, match="is damaged or not a checkpoint"):
        load_checkpoint(path)
    path.write_bytes(b"altered")
    with pytest.raises(ArtifactError, match="was altered on disk since it was trained"):
        load_checkpoint(path)


def test_the_allocators_own_words_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


# A process of its own: MLflow loads a package that changes how every later import finds packages' metadata.
TRACKED = """
import json, os, sys
from pathlib import Path
from tests.test_failing import ResumePoints, run
home, folder = map(Path, sys.argv[1:])
os.environ["AGAR_HOME"] = str(folder / "home")
points = ResumePoints(folder / "home" / "resume" / "small" / "training_run" / "0123", {})
run(home, points, folder / "out", "trainer.max_epochs=2", "trainer.log_every_n_steps=1", "trainer.logger=mlflow")

from mlflow import MlflowClient
client = MlflowClient((folder / "home" / "mlflow").as_uri())
(tracked,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
losses = [metric.value for metric in client.get_metric_history(tracked.info.run_id, "train_loss")]
print(json.dumps([tracked.info.status, tracked.data.params["optimizer.name"], losses]))
"""


def test_the_metrics_are_shown_by_tensorboard_and_by_mlflow_in_a_local_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    command = [sys.executable, "-c", TRACKED, str(home), str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    status, optimizer, tracked = json.loads(done.stdout.splitlines()[-1])
    assert (status, optimizer) == ("FINISHED", "adamw")
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == list(range(1, 9))
    assert tracked == pytest.approx([event.value for event in losses])
