"""Cases 53, 54, 57, 58: another precision when going on, half precision on large photos, weights of a backbone alone,
one GPU for two."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

from agar_pipeline.config import ModelConfig
from agar_pipeline.detection.fitting.model_fitting import make_spec
from agar_pipeline.detection.models.detector import Detector, build_detector, is_untouched
from agar_pipeline.detection.training.resume import ResumePoints, load_precision
from agar_pipeline.processes.gpu_leases import leased_devices
from agar_pipeline.store import Key, find_faults
from tests.acceptance.grading import right
from tests.acceptance.lab import Lab, wait_until
from tests.detection.models.test_detector import keep_backbone

FAMILIES = (
    "tiny",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
)
HEIGHT, WIDTH = 320, 1024
MOST_PX = 0.5
SEVERAL_EPOCHS = ("experiment=small", "trainer.max_steps=null", "trainer.max_epochs=3", "trainer.precision=16-mixed")
PRECISIONS = {
    "32-true": Precision,
    "bf16-mixed": lambda: MixedPrecision("bf16-mixed", "cpu"),
    "16-mixed": lambda: MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu")),
}
"""As Lightning makes them on a GPU; the scaler of the gradients works on a CPU as well."""


def build(name: str) -> Detector:
    torch.manual_seed(0)
    spec = make_spec(ModelConfig(name=name), 3, WIDTH, np.array([12.0, 16, 20, 30]), 10)
    return build_detector(dataclasses.replace(spec, score_floor=0.0)).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_case_54_half_precision_moves_no_box(name: str) -> None:
    detector = build(name)
    made: list[torch.Tensor] = []
    for module in detector.modules():
        if isinstance(module, AnchorGenerator | DefaultBoxGenerator):
            module.register_forward_hook(lambda module, given, anchors: made.extend(anchors))
    image = torch.randint(0, 255, (3, HEIGHT, WIDTH), dtype=torch.uint8)
    with torch.inference_mode():
        exact = detector([image])[0]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = detector([image])[0]
    right({anchors.dtype for anchors in made} == {torch.float32}, f"anchors are {made[-1].dtype}")
    right(torch.equal(*made), "anchors depend on the precision")
    right(rounded["boxes"].dtype == torch.float32, "boxes are rounded")
    far = exact["boxes"][:, 0] > WIDTH / 2
    boxes, others = exact["boxes"][far][:50], rounded["boxes"]
    nearest = (boxes[:, None] - others[None]).abs().amax(dim=2).amin(dim=1)
    right(len(boxes) and nearest.median() < MOST_PX, f"boxes are off by {nearest.median():.2f} px")


@pytest.mark.parametrize("after", PRECISIONS)
@pytest.mark.parametrize("before", PRECISIONS)
def test_case_53_a_precision_is_taken_up_by_any_other(before: str, after: str) -> None:
    first, second = PRECISIONS[before](), PRECISIONS[after]()
    state = first.state_dict()
    if "scale" in state:
        state["scale"] = 1024.0
    load_precision(second, state)
    if before == after == "16-mixed":
        right(second.state_dict()["scale"] == 1024.0, "the scale of the gradients is lost")


def test_case_53_a_training_begun_on_a_gpu_goes_on_without_one(lab: Lab) -> None:
    key = Key("training_run", "small")
    process = lab.start("train", *SEVERAL_EPOCHS)
    points = lab.home / "resume" / "small" / "training_run"
    wait_until(lambda: process.poll() is not None or any(points.glob("*/[ab].json")), 90, "a point to go on from")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not lab.processes(), 10, "the trainer ends")
    (folder,) = points.iterdir()
    pretend_it_was_a_gpu(folder)
    output = lab.run("train", *SEVERAL_EPOCHS)
    right("continues from epoch" in output, "it began anew")
    right("it began in 16-mixed on cuda" in output, f"the change is not said:\n{output[-1500:]}")
    right(not find_faults(lab.store.folder(key) / folder.name), "the artifact is not whole")


def pretend_it_was_a_gpu(folder: Path) -> None:
    """Give the newest point what a training in 16-mixed on CUDA leaves."""
    heading = max((json.loads(path.read_text()) for path in folder.glob("[ab].json")), key=lambda h: h["number"])
    points = ResumePoints(folder, heading["identity"])
    content: dict[str, Any] = points.load() or {}
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
    points.save({**content, "precision": {**scaler, "_growth_tracker": 3}, "resolved": ["cuda", "16-mixed"]})


def mean_of(norm: nn.BatchNorm2d) -> torch.Tensor:
    assert norm.running_mean is not None
    return norm.running_mean


def test_case_57_what_was_not_loaded_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_backbone(tmp_path, "mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth", monkeypatch)
    config = ModelConfig(name="ssdlite320_mobilenet_v3_large", weights_backbone="IMAGENET1K_V1")
    spec = make_spec(config, 3, 320, np.array([20.0]), 10)
    detector = build_detector(spec, weights_backbone="IMAGENET1K_V1")
    detector.freeze_loaded_batch_norms()
    norms = {name: module for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d)}
    fresh = {name for name, module in norms.items() if is_untouched(module)}
    assert fresh
    assert fresh < norms.keys()
    before = {name: mean_of(module).clone() for name, module in norms.items()}
    images = [torch.randint(0, 255, (3, 320, 320), dtype=torch.uint8) for _ in range(2)]
    target = {"boxes": torch.tensor([[10.0, 10, 90, 90]]), "labels": torch.tensor([1])}
    detector.train()(images, [target, target])
    moved = {name for name, module in norms.items() if not torch.equal(mean_of(module), before[name])}
    right(moved == fresh, f"{len(fresh - moved)} BatchNorms that nobody trained are frozen, {len(moved - fresh)} moved")


def test_case_58_an_evaluation_waits_for_the_gpu_of_a_training(trained: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "CUDA_VISIBLE_DEVICES", "0"
    )  # as on a machine with one GPU; torch finds none here and takes a CPU
    cache, training = trained.open("coco_cache"), trained.open("small/training_run")
    evaluation = trained.open("small/evaluation").root
    evaluate = ("evaluate", "--checkpoint", str(training.best_checkpoint), "--images-dir", str(cache.images_dir))
    commands = {
        "the asset": ("run", "small/evaluation"),
        "agar evaluate": (
            *evaluate,
            "--json",
            str(cache.json_path("val")),
            "--out-dir",
            str(trained.folder / "scores"),
        ),
        "agar predict": ("predict", "--checkpoint", str(training.best_checkpoint), str(trained.plates / "1.jpg")),
    }
    shutil.rmtree(evaluation)
    small = trained.configs / "experiment" / "small.yaml"
    small.write_text(small.read_text().replace("accelerator: cpu", "accelerator: auto"))  # enters no fingerprint
    for name, command in commands.items():
        with leased_devices("auto", trained.home, print):
            process = trained.start(*command)
            try:
                heard = wait_for_words(process, "GPU 0 is used by another run")
                right(heard, f"{name} takes the GPU of another run")
                right(process.poll() is None, f"{name} did not wait")
            except BaseException:
                process.kill()
                raise
        output, _ = process.communicate(timeout=180)
        right(process.returncode == 0, f"{name}: {output}")


def wait_for_words(process: subprocess.Popen[str], words: str) -> bool:
    """Read what a command says until it says these words; False where it ends without."""
    assert process.stdout is not None
    return any(words in line for line in process.stdout)
