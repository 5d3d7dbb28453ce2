"""A COCO cache, the commands, and models trained on the card. Neither FiftyOne nor Dagster is needed.

`AGAR_GPU_SECONDS` is how long each training lasts (60). `AGAR_GPU_REHEARSAL=1` runs the same tests on the CPU, small
and short, to see that the tests themselves run. `AGAR_GPU_RESULTS` names a folder that receives what was measured, a
JSON file for each test.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.chain import build
from agar_pipeline.processes.devices import visible_gpus
from tests.coco_home import make_home
from tests.conftest import CHECKOUT

REHEARSAL = os.environ.get("AGAR_GPU_REHEARSAL") == "1"
SECONDS = float(os.environ.get("AGAR_GPU_SECONDS", "3" if REHEARSAL else "60"))
ACCELERATOR = "cpu" if REHEARSAL else "cuda"
SIDE = 320 if REHEARSAL else 1024
COLONIES = (8, 20) if REHEARSAL else (60, 160)
"""On each plate; a crowded one has small colonies, as the lab's have."""
MODELS = [
    "tiny", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
]  # fmt: skip
"""`model.name`, followed by ` on ` and the name of a backbone of timm."""
if REHEARSAL:
    MODELS = ["tiny"]
if find_spec("timm"):
    MODELS.append("retinanet on test_resnet" if REHEARSAL else "fasterrcnn on resnet18")
if find_spec("transformers"):
    MODELS += ["dfine_n"] if REHEARSAL else ["dfine_s", "rtdetr_v2_r18"]
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
CORES_A_WORKER = 1 if REHEARSAL else 3
AGAR = [sys.executable, "-P", "-c", "from agar_pipeline.commands import main; main()"]
"""The command, also where the project is not installed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    reason = None
    if not REHEARSAL and not visible_gpus():
        reason = "no NVIDIA GPU is visible: `make test-gpu` on a machine that has one"
    for item in here:
        item.add_marker(pytest.mark.gpu)
        item.add_marker(pytest.mark.timeout(900))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Told at once: whatever ends the run leaves the reasons."""
    if report.failed and "tests/gpu" in report.nodeid and (folder := os.environ.get("AGAR_GPU_RESULTS")):
        path = Path(folder) / "failures.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{report.nodeid} after {report.duration:.0f} s\n{report.longreprtext[-3000:]}\n\n")


@dataclass
class Lab:
    """A home with a COCO cache in it, and what was trained there."""

    folder: Path
    checkpoints: dict[tuple[str, str], Path] = field(default_factory=dict)
    """(model, precision) → the best checkpoint."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def val_json(self) -> Path:
        (path,) = self.home.glob("artifacts/**/coco/val.json")
        return path

    def environment(self, **more: str) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AGAR_", "DAGSTER_"))}
        path = os.pathsep.join(filter(None, [str(CHECKOUT), env.get("PYTHONPATH", "")]))
        ours = {"PYTHONPATH": path, "AGAR_HOME": str(self.home), "AGAR_CONFIGS": str(self.folder / "configs")}
        return {**env, **ours, **more}

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*AGAR, *words], cwd=self.folder, env=self.environment(**more), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def agar(self, *words: str, timeout_s: float = 800, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*AGAR, *words], cwd=self.folder, env=self.environment(**more), text=True, capture_output=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip

    def must(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        done = self.agar(*words, **more)
        assert done.returncode == 0, f"agar {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done

    def train(self, model: str, precision: str, *words: str) -> Path:
        """The training run, smoke run included, as `agar train` makes them, but in this process: to import torch in two
        new ones takes longer than a short training."""
        from agar_pipeline.commands.experiment import build_from_cache, parse_experiment

        name, _, backbone = model.partition(" on ")
        given = {
            "model.name": name, "model.backbone": f"timm/{backbone}" if backbone else "null",
            "trainer.precision": precision, "trainer.accelerator": ACCELERATOR,
            "trainer.max_steps": "null", "trainer.max_seconds": f"{SECONDS:g}", "trainer.val_every_n_epochs": "1000",
            "trainer.log_every_n_steps": "1", "data.input_size": str(SIDE), "data.batch_size": "4",
            "data.num_workers": "0" if REHEARSAL else "3", "optimizer.lr": "0.001",
        }  # fmt: skip
        given |= dict(word.split("=", 1) for word in words)
        named = ("experiment=small", *(f"{key}={value}" for key, value in given.items()))
        root: Path = build_from_cache(parse_experiment(named)[0], "training_run", as_configured=True).artifact.root
        return root

    def checkpoint(self, model: str, precision: str = "32-true") -> Path:
        """The best model of a training, made once a process."""
        if (model, precision) not in self.checkpoints:
            self.checkpoints[model, precision] = self.train(model, precision) / "checkpoints" / "best.ckpt"
        return self.checkpoints[model, precision]

    def evaluate(self, checkpoint: Path, out: str, accelerator: str = ACCELERATOR) -> dict[str, Any]:
        """The evaluation on val: what metrics.json says."""
        from agar_pipeline.reports.scorecard import evaluate_checkpoint

        (self.folder / out).mkdir()
        evaluate_checkpoint(
            checkpoint, self.val_json, self.images, self.folder / out, print,
            accelerator=accelerator, num_workers=0, pictures=1,
        )  # fmt: skip
        metrics: dict[str, Any] = json.loads((self.folder / out / "metrics.json").read_text())
        return metrics


def answer_here(module: str, request: dict[str, Any], log: Any, **more: Any) -> dict[str, Any]:
    """A step's child, without the process."""
    from agar_pipeline.steps.__main__ import main

    return main(request, log)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    import torch

    folder = tmp_path_factory.mktemp("lab")
    train, val = (8, 2) if REHEARSAL else (24, 8)
    make_home(folder, train, val, SIDE, COLONIES)
    torch.set_num_threads(CORES_A_WORKER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGAR_HOME", str(folder / "home"))
        patch.setenv("AGAR_CONFIGS", str(folder / "configs"))
        patch.setattr(build, "run_child", answer_here)
        for name in ("leased", "leased_devices"):  # in this process its loaders' processes would hold the lock on
            patch.setattr(build, name, lambda *_: contextlib.nullcontext({}))
        yield Lab(folder)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What a test fills in is a row of the table."""
    values: dict[str, Any] = {}
    started_at = time.monotonic()
    yield values
    values["took_s"] = round(time.monotonic() - started_at, 1)
    name = request.node.name
    print(name, values)
    if folder := os.environ.get("AGAR_GPU_RESULTS"):
        path = Path(folder) / f"{request.node.path.stem}-{name.translate(str.maketrans('[]/', '---'))}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"test": name, **values}))
