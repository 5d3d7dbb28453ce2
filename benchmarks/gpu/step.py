"""Our training step, photos and all, against a bare PyTorch loop on the same model with its batches on the card.

By turns. The loop around a bare step holds zero_grad, autocast, forward, backward, clipping and the optimizer's step;
ours also reads the photos in other processes, and has Lightning's loop and our bookkeeping around it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu.card import (
    BATCH,
    DEVICE,
    MODELS,
    QUICK,
    REHEARSAL,
    SIDE,
    Photos,
    experiment,
    seconds_of,
    wait_for_card,
)
from benchmarks.image_feed import columns_of

ROUNDS = 1 if REHEARSAL or QUICK else 3
WARM_UP, STEPS = (1, 2) if REHEARSAL else (12, 32)
PRECISIONS = ("bf16-mixed",) if REHEARSAL or QUICK else ("32-true", "bf16-mixed")


def run(folder: Path, photos: Photos) -> list[dict[str, Any]]:
    """A row for each model and precision: milliseconds a step and the ratio, aim 0.95."""
    rows = []
    for model in MODELS[:2]:
        for precision in PRECISIONS:
            bare, ours = [], []
            for _ in range(ROUNDS):
                bare.append(bare_step_s(model, precision, folder, photos))
                ours.append(our_step_s(model, precision, folder, photos))
            theirs_s, ours_s = statistics.median(bare), statistics.median(ours)
            rows.append({
                "model": model, "precision": precision, "bare_ms": round(1000 * theirs_s, 1),
                "ours_ms": round(1000 * ours_s, 1), "ratio": round(theirs_s / ours_s, 3), "aim": 0.95,
            })  # fmt: skip
    return rows


def our_step_s(model: str, precision: str, folder: Path, photos: Photos) -> float:
    """Seconds a step of `train`, from the end of the warm-up to the end of the last step."""
    import time

    from agar_pipeline.detection.training.train import train
    from agar_pipeline.detection.training.training_loop import TrainingLoop

    config = experiment(model, precision, f"trainer.max_steps={WARM_UP + STEPS}", f"data.num_workers={workers()}")
    columns = repeated(columns_of(photos, 2 * SIDE, 1.0), 1 + BATCH * (WARM_UP + STEPS) // len(photos))
    ends: list[float] = []
    recorded = TrainingLoop.on_train_batch_end

    def record(*arguments: Any) -> None:
        recorded(*arguments)
        if len(ends) in (WARM_UP - 1, WARM_UP + STEPS - 1):
            wait_for_card()
        ends.append(time.perf_counter())

    TrainingLoop.on_train_batch_end = record  # type: ignore[method-assign,assignment]
    try:
        out_dir = Path(tempfile.mkdtemp(dir=folder))
        train(config, columns, columns.take_images(columns.image_ids[:1]), folder / "photos", out_dir, lambda _: None)
    finally:
        TrainingLoop.on_train_batch_end = recorded  # type: ignore[method-assign]
    return (ends[-1] - ends[WARM_UP - 1]) / STEPS


def repeated(columns: Any, times: int) -> Any:
    """The same photos several times over, so that all steps are of one epoch: an epoch's first batch is waited for."""
    import dataclasses

    import numpy as np

    count, boxes = len(columns.image_ids), len(columns.boxes_xywh)
    tiled = {
        name: np.tile(value, (times, *[1] * (value.ndim - 1)))
        for name in (
            "file_names",
            "sizes_wh",
            "annotation_image_ids",
            "annotation_category_ids",
            "boxes_xywh",
            "iscrowd",
        )
        for value in [getattr(columns, name)]
    }
    tiled["image_ids"], tiled["annotation_ids"] = np.arange(count * times), np.arange(boxes * times)
    tiled["annotation_image_ids"] += np.repeat(np.arange(times) * count, boxes)
    return dataclasses.replace(columns, **tiled, original_sizes_wh=None)


def workers() -> int:
    """Loader processes that do not bind: 12, where there are cores for them."""
    import os

    return 0 if REHEARSAL else min(12, len(os.sched_getaffinity(0)) - 1)


def bare_step_s(model: str, precision: str, folder: Path, photos: Photos) -> float:
    """Seconds a step of the plain loop."""
    step = bare_step(model, precision, folder, photos)
    for _ in range(WARM_UP):
        step()
    return seconds_of(lambda: [step() for _ in range(STEPS)]) / STEPS


def bare_step(
    model: str, precision: str, folder: Path, photos: Photos, change: Callable[[Any], Any] = lambda detector: detector
) -> Callable[[], None]:
    """A training step as it is written by hand; `change` is given the detector on the card first."""
    import torch

    from agar_pipeline.detection.fitting.model_fitting import fit_config, fit_spec
    from agar_pipeline.detection.loading.devices import autocast
    from agar_pipeline.detection.models.detector import build_detector

    columns = columns_of(photos, 2 * SIDE, 1.0)
    config = fit_config(experiment(model, precision), columns)
    batches = _batches_on_card(folder, columns, config)
    torch.manual_seed(config.seed)
    detector = change(build_detector(fit_spec(config, columns, columns)).to(DEVICE)).train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler(DEVICE, enabled=precision == "16-mixed")
    made = [0]

    def step() -> None:
        images, targets = batches[made[0] % len(batches)]
        made[0] += 1
        optimizer.zero_grad()
        with autocast(precision, DEVICE):
            loss = torch.stack(list(detector(images, targets).values())).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(detector.parameters(), config.optimizer.clip_norm or 10.0)
        scaler.step(optimizer)
        scaler.update()

    return step


_ON_CARD: list[Any] = []


def _batches_on_card(folder: Path, columns: Any, config: Any) -> list[Any]:
    """An epoch, loaded and sent once."""
    import torch

    from agar_pipeline.detection.loading.data_loader import build_loader
    from agar_pipeline.detection.loading.dataset import DetectionDataset
    from agar_pipeline.detection.loading.sampling import TrainBatches

    if not _ON_CARD:
        dataset = DetectionDataset(columns, folder / "photos", SIDE, config.data, config.seed)
        loader = build_loader(dataset, TrainBatches(len(dataset), BATCH, config.seed), num_workers=workers())
        _ON_CARD.extend(
            (
                [image.to(DEVICE) for image in images],
                [
                    {k: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for k, v in target.items()}
                    for target in targets
                ],
            )
            for images, targets in loader
        )
    return _ON_CARD
