"""Which device, which precision, which rank. Devices are always asked for, never taken because they are there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from agar_pipeline.errors import ComputeError


@dataclass(frozen=True)
class World:
    """This process among all of a run, as torchrun's environment says; one process without it."""

    rank: int
    local_rank: int
    size: int
    local_size: int

    @classmethod
    def from_environment(cls) -> World:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ.get(name, default)) for name, default in zip(names, "0011", strict=True)))


def resolve_accelerator(accelerator: str, devices: int = 1) -> str:
    """`cpu`, `cuda` or `mps`; `auto` is cuda where there is one, else cpu.

    Raises:
        ComputeError: the asked-for devices are not there.
    """
    available = torch.cuda.device_count()
    if accelerator == "auto":
        accelerator = "cuda" if available else "cpu"
    if accelerator == "cuda" and available < devices:
        raise ComputeError(
            f"{devices} CUDA device(s) asked for, {available} visible: "
            "lower trainer.devices, set trainer.accelerator=cpu, or see `agar launch-check`"
        )
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise ComputeError("trainer.accelerator=mps, but this machine has no Metal device: set cpu")
    return accelerator


def resolve_precision(precision: str, accelerator: str) -> str:
    """What is quick on this hardware: bf16 is emulated by CPUs without it, ten times slower than float32."""
    if precision == "bf16-mixed":
        if accelerator == "cpu" and not has_bf16():
            return "32-true"
        if accelerator == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return "16-mixed"
    if precision == "16-mixed" and accelerator == "cpu":
        return "bf16-mixed" if has_bf16() else "32-true"
    return precision


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


def autocast(precision: str, accelerator: str) -> torch.autocast:
    """The context in which a model of this (resolved) precision runs."""
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(accelerator, dtype, enabled=precision != "32-true")


def fit_threads() -> int:
    """Use as many threads as pay off right now, and return how many.

    A step of two threads takes eight times as long as alone when another process keeps one of the two cores busy:
    OpenMP's threads wait for each other, spinning. `OMP_WAIT_POLICY=PASSIVE`, set before torch is imported, makes
    that three times; one thread makes it one. A container's quota of CPUs looks the same. torchrun sets one thread
    per rank itself: that is left alone.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    candidates = sorted({1, max(1, cores // 2), cores})
    seconds = {threads: _probe(threads) for threads in candidates}
    chosen = min(candidates, key=seconds.__getitem__)
    torch.set_num_threads(chosen)
    return chosen


def _probe(threads: int) -> float:
    """Seconds of a small convolution, median of several, so that a short quiet moment does not decide."""
    torch.set_num_threads(threads)
    images, weight = torch.ones(2, 48, 64, 64), torch.ones(48, 48, 3, 3)
    seconds = []
    for _ in range(7):
        started_at = time.perf_counter()
        torch.relu(torch.nn.functional.conv2d(images, weight, padding=1))
        seconds.append(time.perf_counter() - started_at)
    return sorted(seconds[1:])[3]
