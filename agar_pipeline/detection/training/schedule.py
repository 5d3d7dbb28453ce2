"""How far training is, and the learning rate there.

Here: counting, clocks, curves. Not here: who asks (`training_loop`, `lightning_module`).
"""

from __future__ import annotations

import math
import time
from typing import Any

from agar_pipeline.config import OptimizerConfig, TrainerConfig


class Progress:
    """Steps, epochs and seconds so far, and the share of training that they are, by whichever limit is nearest."""

    def __init__(self, limits: TrainerConfig, steps_per_epoch: int) -> None:
        self.limits = limits
        self.steps_per_epoch = steps_per_epoch
        self.max_steps = min(limits.max_steps or math.inf, (limits.max_epochs or math.inf) * steps_per_epoch)
        self.step = 0
        """Steps done."""
        self.epoch = 0
        """Epochs done."""
        self.batch = 0
        """Batches done of the epoch after them."""
        self.fraction = 0.0
        self._before_s = 0.0
        self._started_at: float | None = None

    def start(self) -> None:
        """Start the clock; seconds of an interrupted run count."""
        self._started_at = time.monotonic()

    def advance(self, elapsed_s: float) -> None:
        """Count one step; `elapsed_s` is what the first rank's clock says, so that all ranks end together."""
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
        """Seconds that remain, by the pace so far."""
        by_pace = self.elapsed_s * (1 / self.fraction - 1) if self.fraction else math.inf
        return max(0.0, min(by_pace, (self.limits.max_seconds or math.inf) - self.elapsed_s))

    @property
    def steps_in_all(self) -> str:
        """` of 2,600` where it is known; a time budget has no number of steps."""
        return "" if math.isinf(self.max_steps) else f" of {self.max_steps:,}"

    def state(self) -> dict[str, Any]:
        """Plain values to go on from."""
        return {"step": self.step, "epoch": self.epoch, "batch": self.batch, "elapsed_s": self.elapsed_s}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()` of an interrupted run."""
        self.step, self.epoch, self.batch = (int(state[name]) for name in ("step", "epoch", "batch"))
        self._before_s = float(state["elapsed_s"])
        self._measure(self._before_s)


def rate_factor(optimizer: OptimizerConfig, progress: Progress) -> float:
    """What the learning rate of the next step is multiplied by.

    Linear warm-up times the schedule over the limits; a short run warms up over its first tenth at most.
    """
    by_steps = (progress.step + 1) / (optimizer.warmup_steps + 1)
    factor = min(1.0, max(by_steps, progress.fraction * 10))
    if optimizer.schedule == "cosine":
        factor *= 0.5 * (1 + math.cos(math.pi * progress.fraction))
    elif optimizer.schedule == "step":
        factor *= optimizer.step_factor ** sum(progress.fraction >= at for at in optimizer.step_at)
    return factor
