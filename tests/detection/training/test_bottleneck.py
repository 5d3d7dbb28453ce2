"""What bounds a step: figures in, one sentence out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from agar_pipeline.config import TrainerConfig
from agar_pipeline.detection.training.bottleneck import (
    draw_parts,
    forecast,
    reckon_step_s,
    say_bottleneck,
    say_forecast,
)
from agar_pipeline.detection.training.profile import StepProfile


def profile(data_s: float, compute_s: float, **changes: Any) -> StepProfile:
    parts = {"transfer": 0.05, "forward": 0.35, "backward": 0.5, "optimizer": 0.1}
    seconds = {"data": data_s, **{part: share * compute_s for part, share in parts.items()}}
    plain = StepProfile(8, 8, seconds, 0, None, None, weight_bytes=10_000_000, peak_memory_bytes=2_000_000_000)
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ("measured", "cores", "accelerator", "said"),
    [
        pytest.param(
            profile(0.8, 0.1, num_workers=2, cached_data_s=0.2), 16, "cuda",
            "data-bound: 75% of a step waits for photos; data.num_workers=8 would give about 4.0×; "
            "media: resize would give about 4.0×",
            id="a GPU starves",
        ),
        pytest.param(
            profile(0.3, 0.1), 2, "cuda",
            "data-bound: 75% of a step waits for photos; data.num_workers=1 would give about 1.3×",
            id="one core is left for loading",
        ),
        pytest.param(
            profile(0.3, 0.1, num_workers=1), 2, "cuda",
            "data-bound: 67% of a step waits for photos; all cores (2) are busy: "
            "a smaller input or more cores would help",
            id="nothing to add",
        ),
        pytest.param(
            profile(0.1, 0.4, num_workers=2, larger_batch=(16, 0.77)), 8, "cuda",
            "compute-bound: 0% of a step waits for photos; batch 16 gives 4% more images a second than 8",
            id="a larger batch is hardly faster",
        ),
        pytest.param(
            profile(0.01, 0.4, larger_batch=(16, 1.0)), 2, "cpu",
            "compute-bound: 2% of a step waits for photos; batch 16 gives 20% fewer images a second than 8",
            id="a larger batch is slower",
        ),
        pytest.param(
            profile(0.01, 20.0), 2, "cpu",
            "compute-bound: 0% of a step waits for photos; 35% of its work is the forward pass, 50% the backward one",
            id="too slow to try",
        ),
    ],
)  # fmt: skip
def test_the_verdict_names_what_bounds_a_step(measured: StepProfile, cores: int, accelerator: str, said: str) -> None:
    assert say_bottleneck(measured, cores, accelerator) == said


def test_workers_on_a_cpu_take_the_cores_from_the_model() -> None:
    measured = profile(0.4, 1.0)
    assert reckon_step_s(measured, 0, 4, "cpu") == pytest.approx(1.4)
    assert reckon_step_s(measured, 3, 4, "cpu") == pytest.approx(1.1)
    assert reckon_step_s(measured, 3, 4, "cuda") == pytest.approx(1.0)


def test_the_forecast_follows_the_nearest_limit() -> None:
    measured, limits = profile(0.1, 0.4), TrainerConfig(max_epochs=10, max_seconds=100)
    by_time = forecast(measured, limits, steps_per_epoch=100, val_images=50, val_s_per_image=0.1, step_s=0.5)
    assert (by_time["steps"], by_time["training_seconds"], by_time["validation_seconds"]) == (190, 95.0, 10.0)
    by_epochs = forecast(measured, TrainerConfig(max_epochs=10), 100, 50, 0.1, step_s=0.5)
    assert (by_epochs["steps"], by_epochs["seconds"]) == (1000, 550.0)
    assert say_forecast(by_epochs) == (
        "the whole training: about 9 min 10 s for 1,000 steps (epochs: 10) if the machine stays as busy as now; "
        "60 MB of disk, 2.0 GB of memory at the peak"
    )
    assert len(draw_parts(measured)) == 5
