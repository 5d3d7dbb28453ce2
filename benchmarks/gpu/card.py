"""The card, its clock, and photos to feed it with."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

REHEARSAL = os.environ.get("AGAR_GPU_REHEARSAL") == "1"
QUICK = os.environ.get("AGAR_GPU_QUICK") == "1"
"""One round, in bf16 alone, nothing compiled: a minute."""
DEVICE = "cpu" if REHEARSAL else "cuda"
SIDE = 128 if REHEARSAL else 1024
BATCH = 2 if REHEARSAL else 4
MODELS = ("tiny",) if REHEARSAL else ("tiny", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2")
Photos = dict[str, list[list[float]]]
"""File name → boxes_xywh."""


def describe() -> str:
    import torch
    import torchvision

    name = torch.cuda.get_device_name(0) if DEVICE == "cuda" else "the CPU (a rehearsal)"
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, torch {torch.__version__}, torchvision {torchvision.__version__}"


def wait_for_card() -> None:
    import torch

    if DEVICE == "cuda":
        torch.cuda.synchronize()


def seconds_of(call: Callable[[], Any]) -> float:
    """Of a call, work on the card included."""
    wait_for_card()
    started_at = time.perf_counter()
    call()
    wait_for_card()
    return time.perf_counter() - started_at


def _make_one(folder: str, number: int, side: int) -> None:
    from agar_pipeline.plates.generate import generate_plates

    generate_plates(Path(folder), 1, side, seed=number, colonies_per_plate=(20, 60))


def make_photos_in_parallel(folder: Path, count: int, side: int) -> Photos:
    """Generated plates of this side, `N.jpg`; a process for each core."""
    places = [folder.parent / f"plate-{number}" for number in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_make_one, map(str, places), range(count), [side] * count))
    folder.mkdir()
    photos: Photos = {}
    for number, place in enumerate(places, start=1):
        (place / "1.jpg").rename(folder / f"{number}.jpg")
        labels = json.loads((place / "1.json").read_text())["labels"]
        photos[f"{number}.jpg"] = [[label[key] for key in ("x", "y", "width", "height")] for label in labels]
    return photos


def experiment(model: str, precision: str, *words: str) -> Any:
    """The config of a training on the card."""
    from agar_pipeline.config import load_experiment

    given = {
        "model.name": model,
        "trainer.precision": precision, "trainer.accelerator": DEVICE, "trainer.max_seconds": "null",
        "trainer.max_epochs": "null", "trainer.val_every_n_epochs": "1000", "data.input_size": str(SIDE),
        "data.batch_size": str(BATCH), "optimizer.lr": "0.0001",
    }  # fmt: skip
    given |= dict(word.split("=", 1) for word in words)
    return load_experiment("tiny_steps", [f"{key}={value}" for key, value in given.items()]).training_run
