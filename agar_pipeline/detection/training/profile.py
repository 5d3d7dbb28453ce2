"""Measures how long each part of a training step takes, on the first batches of the real data.

Here: measuring. Not here: conclusions from the figures (`bottleneck`).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import simplejpeg
import torch

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import TrainingConfig
from agar_pipeline.detection.loading.data_loader import choose_workers, collate
from agar_pipeline.detection.loading.dataset import Batch, DetectionDataset
from agar_pipeline.detection.loading.devices import autocast
from agar_pipeline.detection.loading.sampling import TrainBatches
from agar_pipeline.detection.models.detector import build_detector
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.training.lightning_module import DetectorModule
from agar_pipeline.detection.training.out_of_memory import is_out_of_memory
from agar_pipeline.detection.training.schedule import Progress
from agar_pipeline.photos.image_paths import safe_image_path
from agar_pipeline.photos.jpeg_copy import encode_copy
from agar_pipeline.photos.load_and_resize import load_image

PARTS = ("data", "transfer", "forward", "backward", "optimizer")
WARM_UP, MEASURED = 2, 8
BUDGET_S = 6.0
"""Seconds after which measuring stops, with the steps done so far; at least one step is measured."""
COPIES = 4
"""Number of photos for which loading is compared with loading copies at the model's size."""
LARGER_BATCH_S = 0.75
"""If a step is slower than this many seconds, twice the batch is not tried, because it takes too long."""


@dataclass(frozen=True)
class StepProfile:
    """Medians over some steps of one rank. Photos are loaded one after another by this process."""

    batch_size: int
    """Batch size of this rank."""
    steps: int
    seconds: dict[str, float]
    """Part of `PARTS` → seconds per step."""
    num_workers: int
    """Loader processes that the training will have."""
    cached_data_s: float | None
    """Estimated `data` if the photos were copies at the model's size; None if they are no larger than that, keep their
    size, or are cached in memory.
    """
    larger_batch: tuple[int, float] | None
    """Twice the batch size, and its seconds per step without `data`; None if it was not tried or did not fit."""
    weight_bytes: int
    peak_memory_bytes: int
    """Of the GPU with CUDA, else of this process."""

    @property
    def compute_s(self) -> float:
        """Seconds per step without waiting for photos."""
        return sum(seconds for part, seconds in self.seconds.items() if part != "data")


def profile_steps(
    config: TrainingConfig,
    spec: DetectorSpec,
    columns: CocoColumns,
    images_dir: Path,
    accelerator: str,
    precision: str,
    world_size: int = 1,
) -> StepProfile:
    """Train a new detector for some steps and measure them; the detector is then discarded.

    Args:
        config: As `fit_config` returns it.
        world_size: Ranks that share the global batch.
    """
    dataset = DetectionDataset(columns, images_dir, config.data.image_side, config.data, config.seed)
    local = config.data.batch // world_size
    step = _make_step(config, spec, accelerator, precision)
    seconds = _measure(step, _batches(dataset, local, config.seed), again=dataset.keeps_photos)
    medians = {part: median(row[part] for row in seconds) for part in PARTS}
    peak_memory_bytes, larger = _peak_memory_bytes(accelerator), None  # read before the larger batch is tried
    if sum(medians.values()) < LARGER_BATCH_S and len(dataset) >= 2 * local:
        larger = _try_larger(step, _batches(dataset, 2 * local, config.seed), 2 * local)
    return StepProfile(
        batch_size=local,
        steps=len(seconds),
        seconds=medians,
        num_workers=choose_workers(config.data.num_workers, len(dataset), world_size),
        cached_data_s=_data_from_copies(dataset, medians["data"], local),
        larger_batch=larger,
        weight_bytes=sum(value.nbytes for value in step.module.detector.state_dict().values()),
        peak_memory_bytes=peak_memory_bytes,
    )


@dataclass
class _Step:
    module: DetectorModule
    optimizer: torch.optim.Optimizer
    device: torch.device
    precision: str
    clip_norm: float | None

    def __call__(self, load: Callable[[], Batch]) -> dict[str, float]:
        """Seconds of each part of one step."""
        times = [time.perf_counter()]
        batch = load()
        self._tick(times)
        images, targets = self.module.transfer_batch_to_device(batch, self.device, 0)
        self._tick(times)
        with autocast(self.precision, self.device.type):
            loss = torch.stack(list(self.module.detector(images, targets).values())).sum()
        self._tick(times)
        loss.backward()
        self._tick(times)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.module.detector.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._tick(times)
        return dict(zip(PARTS, np.diff(times).tolist(), strict=True))

    def _tick(self, times: list[float]) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.perf_counter())


def _make_step(config: TrainingConfig, spec: DetectorSpec, accelerator: str, precision: str) -> _Step:
    detector = build_detector(spec).to(accelerator).train()
    if config.trainer.channels_last:
        detector = detector.to(memory_format=torch.channels_last)
    module = DetectorModule(detector, config.optimizer, Progress(config.trainer, 1), {})
    optimizer = module.configure_optimizers()
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # nothing is learnt, so the loss cannot diverge
    return _Step(module, optimizer, torch.device(accelerator), precision, config.optimizer.clip_norm)


def _batches(dataset: DetectionDataset, batch_size: int, seed: int) -> Iterator[Callable[[], Batch]]:
    """Endless batches, each loaded when it is called. Photos repeat only after all of them were used."""
    sampler = TrainBatches(len(dataset), batch_size, seed)
    while True:
        for rows in sampler:
            yield lambda rows=rows: collate([dataset[row] for row in rows])  # type: ignore[misc]
        sampler.epoch += 1


def _measure(step: _Step, batches: Iterator[Callable[[], Batch]], *, again: bool) -> list[dict[str, float]]:
    """Seconds per part for each step after the warm-up.

    If `again`, each batch is loaded once before it is measured, as in all epochs but the first of a training whose
    photos are cached in memory.
    """
    started_at = time.perf_counter()
    rows: list[dict[str, float]] = []
    while len(rows) < WARM_UP + MEASURED and (not rows or time.perf_counter() - started_at < BUDGET_S):
        load = next(batches)
        if again:
            load()
        rows.append(step(load))
    return rows[min(WARM_UP, len(rows) - 1) :]


def _try_larger(step: _Step, batches: Iterator[Callable[[], Batch]], batch_size: int) -> tuple[int, float] | None:
    try:
        rows = [step(next(batches)) for _ in range(4)][1:]
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return batch_size, median(sum(row.values()) - row["data"] for row in rows)


def _data_from_copies(dataset: DetectionDataset, data_s: float, batch_size: int) -> float | None:
    """`data_s` with the time for loading photos replaced by the time for loading JPEG copies at the model's size; both
    are measured.
    """
    side = dataset.input_size
    if side is None or dataset.keeps_photos or int(dataset.columns.sizes_wh.max()) <= side:
        return None
    now, copies = [], []
    for name in list(dataset.columns.file_names[:COPIES]):
        path = safe_image_path(dataset.images_dir, name)
        started_at = time.perf_counter()
        pixels, _ = load_image(path, side)
        now.append(time.perf_counter() - started_at)
        copy = encode_copy(pixels)
        started_at = time.perf_counter()
        simplejpeg.decode_jpeg(copy)
        copies.append(time.perf_counter() - started_at)
    return max(0.0, data_s - batch_size * (median(now) - median(copies)))


def _peak_memory_bytes(accelerator: str) -> int:
    if accelerator == "cuda":
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
