"""The progress of a training, and the learning rate at that point.

Here: counters, clocks, learning rate curves. Not here: the callers (`training_loop`, `lightning_module`).
"""

from __future__ import annotations

import math
import time
from typing import Any

from agar_pipeline.config import OptimizerConfig, TrainerConfig


class Progress:
    """Steps, epochs and seconds so far, and the fraction of the training that is done, by the limit that is nearest."""

    def __init__(self, limits: TrainerConfig, steps_per_epoch: int) -> None:
        self.limits = limits
        self.steps_per_epoch = steps_per_epoch
        self.max_steps = min(limits.max_steps or math.inf, (limits.max_epochs or math.inf) * steps_per_epoch)
        self.step = 0
        """Completed steps."""
        self.epoch = 0
        """Completed epochs."""
        self.batch = 0
        """Completed batches of the current epoch."""
        self.fraction = 0.0
        self._before_s = 0.0
        self._started_at: float | None = None

    def start(self) -> None:
        """Start the clock. The seconds of an interrupted run are counted too."""
        self._started_at = time.monotonic()

    def advance(self, elapsed_s: float) -> None:
        """Count one step. `elapsed_s` is the first rank's time, so that all ranks end after the same step."""
        self.step += 1
        self.batch += 1
        if self.batch == self.steps_per_epoch:
            self.epoch, self.batch = self.epoch + 1, 0
        self._measure(elapsed_s)

    def _measure(self, elapsed_s: float) -> None:
        by_time = elapsed_s / (self.limits.max_seconds or math.inf)
        self.fraction = min(1.0, max(self.step / self.max_steps, by_time))

    @property
    def ended(self) -> bool:
        return self.fraction >= 1

    @property
    def last_epoch(self) -> int:
        """The epoch of the last step, from 0."""
        return self.epoch if self.batch or not self.epoch else self.epoch - 1

    @property
    def elapsed_s(self) -> float:
        return self._before_s + (0.0 if self._started_at is None else time.monotonic() - self._started_at)

    @property
    def left_s(self) -> float:
        """Estimated remaining seconds at the pace so far."""
        by_pace = self.elapsed_s * (1 / self.fraction - 1) if self.fraction else math.inf
        return max(0.0, min(by_pace, (self.limits.max_seconds or math.inf) - self.elapsed_s))

    @property
    def steps_in_all(self) -> str:
        """` of 2,600` if the number of steps is known; with a time budget alone it is not."""
        return "" if math.isinf(self.max_steps) else f" of {self.max_steps:,}"

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.epoch, "batch": self.batch, "elapsed_s": self.elapsed_s}

    def restore(self, state: dict[str, Any]) -> None:
        self.step, self.epoch, self.batch = (int(state[name]) for name in ("step", "epoch", "batch"))
        self._before_s = float(state["elapsed_s"])
        self._measure(self._before_s)


def rate_factor(optimizer: OptimizerConfig, progress: Progress) -> float:
    """Factor by which the learning rate of the next step is multiplied.

    It is a linear warm-up times the schedule over the training's limits. In a short run the warm-up ends after the
    first tenth of the training.
    """
    by_steps = (progress.step + 1) / (optimizer.warmup_steps + 1)
    factor = min(1.0, max(by_steps, progress.fraction * 10))
    if optimizer.schedule == "cosine":
        factor *= 0.5 * (1 + math.cos(math.pi * progress.fraction))
    elif optimizer.schedule == "step":
        factor *= optimizer.step_factor ** sum(progress.fraction >= at for at in optimizer.step_at)
    return factor
