"""How far training is, and the learning rate there."""

from __future__ import annotations

import pytest

from agar_pipeline.config import OptimizerConfig, TrainerConfig
from agar_pipeline.detection.training.schedule import Progress, rate_factor


def rates(optimizer: OptimizerConfig, steps: int = 100) -> list[float]:
    progress = Progress(TrainerConfig(max_steps=steps), steps_per_epoch=10)
    found = []
    while not progress.ended:
        found.append(rate_factor(optimizer, progress))
        progress.advance(0.0)
    return found


def test_warm_up_rises_and_cosine_falls_to_nothing() -> None:
    found = rates(OptimizerConfig(warmup_steps=5, schedule="cosine"))
    assert found[:5] == sorted(found[:5])
    assert found[0] < 0.2
    assert max(found) == pytest.approx(1, abs=0.01)
    assert found[-1] < 0.001


def test_steps_come_at_their_shares_of_training() -> None:
    found = rates(OptimizerConfig(warmup_steps=0, schedule="step", step_at=(0.5, 0.8), step_factor=0.1))
    assert found[10:50] == [1.0] * 40
    assert found[50:80] == pytest.approx([0.1] * 30)
    assert found[80:] == pytest.approx([0.01] * 20)


def test_epochs_and_batches_are_counted_and_an_interrupted_run_goes_on_counting() -> None:
    progress = Progress(TrainerConfig(max_epochs=3), steps_per_epoch=4)
    for _ in range(6):
        progress.advance(0.0)
    assert (progress.epoch, progress.batch, progress.last_epoch) == (1, 2, 1)
    again = Progress(TrainerConfig(max_epochs=3), steps_per_epoch=4)
    again.restore(progress.state())
    for _ in range(6):
        assert not again.ended
        again.advance(0.0)
    assert again.ended
    assert (again.epoch, again.batch, again.last_epoch) == (3, 0, 2)


def test_a_time_budget_counts_the_seconds_that_an_interrupted_run_used() -> None:
    progress = Progress(TrainerConfig(max_seconds=100), steps_per_epoch=4)
    progress.restore({"step": 5, "epoch": 1, "batch": 1, "elapsed_s": 60.0})
    assert progress.fraction == pytest.approx(0.6)
    progress.start()
    assert 0 < progress.left_s <= 40
    progress.advance(101.0)
    assert progress.ended
