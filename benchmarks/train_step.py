"""One training step under Lightning against a bare PyTorch loop: the same model, batches, precision and optimizer.

Both are given the same loaded batches, so that only what surrounds the step differs: Lightning's loop, our bookkeeping,
metrics every tenth step, the guard against a loss that is not finite. Taken by turns within one process, on one thread,
in CPU seconds, which a busy machine does not stretch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._timing import print_ratio

ROUNDS = 5
WARM_UP, STEPS = 4, 16
SIDE, BATCH = 192, 4


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        training = _Training(folder)
        bare, ours = [], []
        for _ in range(ROUNDS):
            bare.append(training.bare_step_s())
            ours.append(training.our_step_s())
    print_ratio("train_step", bare, ours, aim=0.95)


class _Training:
    """`experiment=demo` for some steps, on generated plates."""

    def __init__(self, folder: Path) -> None:
        import torch

        from agar_pipeline.config import load_experiment
        from agar_pipeline.detection.fitting.model_fitting import fit_config
        from benchmarks.image_feed import columns_of, make_photos

        torch.set_num_threads(1)
        words = [f"trainer.max_steps={WARM_UP + STEPS}", "trainer.max_seconds=null", f"data.input_size={SIDE}"]
        config = load_experiment("demo", [*words, f"data.batch_size={BATCH}", "data.num_workers=0"]).training_run
        photos = make_photos(folder / "plates", count=BATCH * 4, side=320)
        self.columns, self.folder = columns_of(photos, 320, 1.0), folder
        self.images_dir, self.config = folder / "plates", fit_config(config, self.columns)

    def our_step_s(self) -> float:
        """Seconds a step of `train`, from the end of the warm-up to the end of the last step."""
        from agar_pipeline.detection.training.train import train
        from agar_pipeline.detection.training.training_loop import TrainingLoop

        ends: list[float] = []
        recorded = TrainingLoop.on_train_batch_end

        def record(*arguments: Any) -> None:
            recorded(*arguments)
            ends.append(time.process_time())

        TrainingLoop.on_train_batch_end = record  # type: ignore[method-assign,assignment]
        try:
            out_dir = Path(tempfile.mkdtemp(dir=self.folder))
            val = self.columns.take_images(self.columns.image_ids[:1])
            train(self.config, self.columns, val, self.images_dir, out_dir, lambda _: None)
        finally:
            TrainingLoop.on_train_batch_end = recorded  # type: ignore[method-assign]
        return (ends[-1] - ends[WARM_UP - 1]) / STEPS

    def bare_step_s(self) -> float:
        """Seconds a step of a plain loop over the same loader."""
        import torch

        from agar_pipeline.detection.fitting.model_fitting import fit_spec
        from agar_pipeline.detection.loading.devices import autocast, resolve_precision
        from agar_pipeline.detection.models.detector import build_detector

        torch.manual_seed(self.config.seed)
        detector = build_detector(fit_spec(self.config, self.columns, self.columns)).train()
        detector = detector.to(memory_format=torch.channels_last)
        precision = resolve_precision(self.config.trainer.precision, "cpu")
        optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3, fused=True)
        batches = self._batches()
        for step in range(WARM_UP + STEPS):
            if step == WARM_UP:
                started_at = time.process_time()
            images, targets = next(batches)
            with autocast(precision, "cpu"):
                loss = torch.stack(list(detector(images, targets).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), self.config.optimizer.clip_norm or 10.0)
            optimizer.step()
        return (time.process_time() - started_at) / STEPS

    def _batches(self) -> Iterator[Any]:
        from agar_pipeline.detection.loading.data_loader import build_loader
        from agar_pipeline.detection.loading.dataset import DetectionDataset
        from agar_pipeline.detection.loading.sampling import TrainBatches

        dataset = DetectionDataset(self.columns, self.images_dir, SIDE, self.config.data, self.config.seed)
        sampler = TrainBatches(len(dataset), BATCH, self.config.seed)
        loader = build_loader(dataset, sampler, num_workers=0)
        while True:
            yield from loader
            sampler.epoch += 1
            dataset.epoch += 1
