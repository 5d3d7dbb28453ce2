"""Says in one sentence with figures what limits the speed of a training, and forecasts its total time.

Here: arithmetic on measured times, and the sentences; each figure that was not measured is marked with "about". Not
here: measuring (`profile`).

How loader processes are modelled: without any, a step waits for all of its photos. With W of them and a GPU, a step
takes the longer of its computation and the loading time of a batch divided by W. On a CPU, loading and the model share
the cores, so a step takes at least its computation plus the loading time divided by the number of cores.
"""

from __future__ import annotations

import math
from typing import Any

from agar_pipeline.config import TrainerConfig
from agar_pipeline.detection.training.profile import PARTS, StepProfile
from agar_pipeline.progress import say_duration
from agar_pipeline.text.plurals import plural

WAITING_SHARE = 0.2
"""A step that waits for photos for less than this share of its time is called compute-bound."""
WORTH_SAYING = 1.05
_BAR = 24


def reckon_step_s(
    profile: StepProfile, workers: int, cores: int, accelerator: str, data_s: float | None = None
) -> float:
    """Estimate the seconds of a step with a given number of loader processes.

    Args:
        workers: Loader processes of this rank.
        cores: CPU cores that this rank may use.
        data_s: Seconds in which one core loads a batch; default: as measured.
    """
    data_s = profile.seconds["data"] if data_s is None else data_s
    if not workers:
        return data_s + profile.compute_s
    shortest = max(profile.compute_s, data_s / workers)
    if accelerator == "cpu":
        shortest = max(shortest, profile.compute_s + data_s / cores)
    return shortest


def say_bottleneck(profile: StepProfile, cores: int, accelerator: str) -> str:
    """Say what limits the speed of a step, and which change would help by how much."""
    now = reckon_step_s(profile, profile.num_workers, cores, accelerator)
    waiting = 1 - profile.compute_s / now
    if waiting < WAITING_SHARE:
        return f"compute-bound: {waiting:.0%} of a step waits for photos; {_say_batch(profile)}"
    advice = []
    most = max(1, cores - 1)
    wanted = min(most, math.ceil(profile.seconds["data"] / max(profile.compute_s, 1e-9)))
    more = now / reckon_step_s(profile, wanted, cores, accelerator)
    if wanted > profile.num_workers and more >= WORTH_SAYING:
        advice.append(f"data.num_workers={wanted} would give about {more:.1f}×")
    if profile.cached_data_s is not None:
        copies = now / reckon_step_s(profile, profile.num_workers, cores, accelerator, profile.cached_data_s)
        if copies >= WORTH_SAYING:
            advice.append(f"media: resize would give about {copies:.1f}×")
    if not advice:
        advice.append(f"all cores ({cores}) are busy: a smaller input or more cores would help")
    return f"data-bound: {waiting:.0%} of a step waits for photos; {'; '.join(advice)}"


def _say_batch(profile: StepProfile) -> str:
    if profile.larger_batch is None:
        forward, backward = (profile.seconds[part] / profile.compute_s for part in ("forward", "backward"))
        return f"{forward:.0%} of its work is the forward pass, {backward:.0%} the backward one"
    larger, seconds = profile.larger_batch
    gain = (larger / seconds) / (profile.batch_size / profile.compute_s) - 1
    more = f"{gain:.0%} more" if gain >= 0 else f"{-gain:.0%} fewer"
    return f"batch {larger} gives {more} images a second than {profile.batch_size}"


def forecast(
    profile: StepProfile,
    trainer: TrainerConfig,
    steps_per_epoch: int,
    val_images: int,
    val_s_per_image: float,
    step_s: float,
) -> dict[str, Any]:
    """Estimate time, disk and memory of the whole training.

    `max_seconds` includes the validations between the steps, but not the last validation, which comes afterwards.

    Args:
        trainer: Limits of the experiment, not those of the smoke step.
        steps_per_epoch: For all of train.
        val_images: Number of images in all of val.
        val_s_per_image: As measured by the smoke evaluation.
        step_s: As `reckon_step_s` estimates it.
    """
    steps = min(trainer.max_steps or math.inf, (trainer.max_epochs or math.inf) * steps_per_epoch)
    between, one_validation_s = steps_per_epoch * trainer.val_every_n_epochs, val_images * val_s_per_image
    if trainer.max_seconds is not None:
        rounds, left_s = divmod(trainer.max_seconds, between * step_s + one_validation_s)
        steps = min(steps, rounds * between + min(between, left_s / step_s))
    steps = max(1, int(steps))
    validation_s = math.ceil(steps / between) * one_validation_s
    return {
        "steps": steps,
        "epochs": round(steps / steps_per_epoch, 1),
        "training_seconds": round(steps * step_s, 1),
        "validation_seconds": round(validation_s, 1),
        "seconds": round(steps * step_s + validation_s, 1),
        "disk_bytes": 6 * profile.weight_bytes,  # best, last, and a resume point with the optimizer's two moments
        "peak_memory_bytes": profile.peak_memory_bytes,
    }


def say_forecast(plain: dict[str, Any]) -> str:
    """The forecast in one line."""
    return (
        f"the whole training: about {say_duration(plain['seconds'])} for {plural(plain['steps'], 'step')} "
        f"(epochs: {plain['epochs']:g}) if the machine stays as busy as now; "
        f"{plain['disk_bytes'] / 1e6:,.0f} MB of disk, {plain['peak_memory_bytes'] / 1e9:.1f} GB of memory at the peak"
    )


def draw_parts(profile: StepProfile) -> list[str]:
    """One line per part of a step: its name, a bar, milliseconds, share."""
    total = sum(profile.seconds.values())
    lines = []
    for part in PARTS:
        share = profile.seconds[part] / total
        bar = "█" * round(share * _BAR) or "▏"
        lines.append(f"{part:<10}{bar:<{_BAR}} {1e3 * profile.seconds[part]:8.1f} ms {share:4.0%}")
    return lines
