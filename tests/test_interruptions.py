"""A training that is killed or stopped goes on as if nothing had been, bit for bit; what must not go on is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from PIL import Image, ImageOps

from agar_pipeline.detection.training.resume import ResumePoints
from agar_pipeline.errors import TrainingError
from agar_pipeline.store import Key, Store
from tests.coco_home import make_home
from tests.conftest import BIN, CHECKOUT, Run

WORDS = (
    "experiment=small", "data.input_size=96", "data.batch_size=2", "trainer.max_steps=null", "trainer.max_epochs=16",
    "trainer.log_every_n_steps=1", "optimizer.ema_decay=0.9", "optimizer.schedule=step", "model.score_floor=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Sixteen epochs of a small training, in one piece: on a slow disk points are rare."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run, home = make_home(folder)
    done = run("agar", "train", *WORDS)
    assert done.returncode == 0, done.stderr
    return run, home


def training_root(home: Path) -> Path:
    (root,) = Store(home).roots(Key("training_run", "small"))
    return root


class Training:
    """`agar train`, or another command that trains, running."""

    def __init__(self, folder: Path, *words: str, command: str = "train", **more: str) -> None:
        self.home = folder / "home"
        self.started_ns = time.time_ns()
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
        env |= {"AGAR_HOME": str(self.home), "AGAR_CONFIGS": str(folder / "configs"), **more}
        self.process = subprocess.Popen(
            [str(BIN / "agar"), command, *words], cwd=CHECKOUT, env=env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def wait_for(self, is_so: Callable[[dict[str, Any]], bool]) -> None:
        """Until a point that is so has been written."""
        deadline = time.monotonic() + 120
        while not any(is_so(progress) for progress in self.points()):
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def points(self) -> list[dict[str, Any]]:
        """How far the points are that were written since the start."""
        paths = [path for path in self.home.glob("resume/*/*/*/[ab].json") if path.stat().st_mtime_ns > self.started_ns]
        return [json.loads(path.read_text())["progress"] for path in paths]

    def trainers(self) -> list[psutil.Process]:
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in below if "agar_pipeline.steps" in child.cmdline()]

    def ends(self, timeout_s: float = 120) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, output


def processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AGAR_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def copy_lab(source: Path, target: Path) -> Path:
    """The home without its training."""
    shutil.copytree(source.parent, target, symlinks=True)
    shutil.rmtree(target / "home" / "artifacts" / "small" / "training_run")
    return target


def gone_on_from(output: str) -> int:
    """The epoch."""
    found = re.search(r"continues from epoch (\d+), step \d+", output)
    assert found, output
    return int(found[1])


def test_killed_and_stopped_trainings_go_on_to_the_same_artifact(undisturbed: tuple[Run, Path], tmp_path: Path) -> None:
    _, home = undisturbed
    folder = copy_lab(home, tmp_path / "lab")
    first = Training(folder, *WORDS)
    first.wait_for(lambda progress: progress["epoch"] >= 2)
    first.trainers()[0].kill()
    code, output = first.ends()
    assert code == 1
    assert "exit code -9 (SIGKILL), it was killed from outside, most often because memory ran out" in output
    assert not list((folder / "home" / "artifacts").rglob(".draft-*"))

    second = Training(folder, *WORDS, "data.num_workers=2")  # loader processes are asked to stop too, and must not
    second.wait_for(lambda progress: progress["epoch"] >= 4)
    second.process.terminate()
    asked = time.monotonic()
    code, output = second.ends()
    assert time.monotonic() - asked < 30
    assert code == 130
    assert gone_on_from(output) >= 2
    assert re.search(r"and stopped at epoch \d+, step \d+: run the same command again, it continues from there", output)
    assert not processes_of(folder / "home")

    code, output = Training(folder, *WORDS).ends()
    assert code == 0, output
    assert gone_on_from(output) >= 4
    ours, theirs = training_root(folder / "home"), training_root(home)
    for name in ("metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), f"{name} differs"
    left = [path for path in (folder / "home" / "resume").rglob("*") if path.is_file()]
    assert not left, "what was unfinished is finished"


def test_a_run_that_is_stopped_in_the_terminal_says_what_goes_on(undisturbed: tuple[Run, Path], tmp_path: Path) -> None:
    folder = copy_lab(undisturbed[1], tmp_path / "lab")
    words = ("demo/smoke_run", "demo/training_run")
    first = Training(folder, *words, command="run")
    first.wait_for(lambda progress: progress["epoch"] >= 1)
    os.killpg(first.process.pid, signal.SIGINT)  # as a terminal: the processes that show a step's output get it, too
    code, output = first.ends()
    assert code == 130, output
    assert "Traceback" not in output
    told = output.splitlines()[-3:]
    assert re.search(r"stopped at epoch \d+, step \d+: run the same command again", told[0])
    assert told[1:] == [
        "demo/training_run was stopped",
        "run the same command again: finished assets are kept, and a training continues from its last saved state",
    ]
    again = Training(folder, *words, command="run")
    again.wait_for(lambda progress: progress["epoch"] >= 1)
    again.process.terminate()
    code, output = again.ends()
    assert code == 130, output
    assert gone_on_from(output) >= 1
    assert output.endswith("from its last saved state\n")


def test_photos_replaced_meanwhile_are_not_gone_on_with(undisturbed: tuple[Run, Path], tmp_path: Path) -> None:
    _, home = undisturbed
    folder = copy_lab(home, tmp_path / "lab")
    elsewhere = {"AGAR_IMAGES_DIR": str(folder / "images")}
    first = Training(folder, *WORDS, **elsewhere)
    first.wait_for(lambda progress: progress["epoch"] >= 2)
    first.process.terminate()
    assert first.ends()[0] == 130
    photo = folder / "images" / "3.jpg"
    with Image.open(photo) as image:
        ImageOps.invert(image.convert("RGB")).save(photo)
    code, output = Training(folder, *WORDS, **elsewhere).ends()
    assert code == 1
    assert re.search(r"images holds other photos than .*coco_cache.* was made from, 1 of 10: 3\.jpg", output), output


def points_in(folder: Path, **identity: Any) -> ResumePoints:
    return ResumePoints(folder, {"config": {"optimizer": {"lr": 0.1}}, "data": "1", **identity})


def test_a_torn_point_falls_back_to_the_one_before(tmp_path: Path) -> None:
    points = points_in(tmp_path / "0123")
    assert points.load() is None
    assert not points.unreadable
    for step in range(3):
        points.save({"progress": {"step": step}, "tensor": torch.zeros(1000)})
    newest = max(points.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
    content = points.load()
    assert content is not None
    assert content["progress"]["step"] == 2
    newest.write_bytes(newest.read_bytes()[:-100])
    content = points.load()
    assert content is not None
    assert content["progress"]["step"] == 1
    for path in points.folder.glob("*.json"):
        path.write_text(path.read_text()[:50])
    assert points.load() is None, "begins at the beginning rather than with a guess"
    assert points.unreadable, "and says so"


@pytest.mark.parametrize(
    ("identity", "told"),
    [({"config": {"optimizer": {"lr": 0.2}}}, "optimizer.lr 0.1 → 0.2"), ({"data": "2"}, "data 1 → 2")],
    ids=["another config", "other data"],
)
def test_another_training_is_not_gone_on_with(tmp_path: Path, identity: dict[str, Any], told: str) -> None:
    points_in(tmp_path / "0123").save({"progress": {"step": 1}})
    with pytest.raises(TrainingError, match=f"cannot be continued, because its inputs changed: {told}"):
        points_in(tmp_path / "0123", **identity).load()
    assert points_in(tmp_path / "4567", **identity).others() == told
