"""Which device, which precision, which rank. Devices are always asked for, never taken because they are there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from agar_pipeline.config import TrainingConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.processes.machine import count_cores
from agar_pipeline.processes.world import World

OPEN_FILES = 65_536
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass(frozen=True)
class Site:
    """Where a training runs: its ranks, and what of the machine it uses."""

    world: World
    accelerator: str
    precision: str

    @classmethod
    def find(cls, config: TrainingConfig, log: Callable[[str], None]) -> Site:
        """Raises ComputeError where other devices or processes are there than the config asks for."""
        world = World.from_environment()
        _require_world(world, config)
        accelerator = resolve_accelerator(config.trainer.accelerator, world.local_size)
        precision = resolve_precision(config.trainer.precision, accelerator)
        if precision != config.trainer.precision:
            log(f"precision {config.trainer.precision} is not in this hardware: {precision}")
        log(f"{world.size} process{'es' if world.size > 1 else ''} on {accelerator}, {precision}")
        return cls(world, accelerator, precision)


def _require_world(world: World, config: TrainingConfig) -> None:
    asked = config.trainer.devices * config.trainer.num_nodes
    if world.size != asked:
        raise ComputeError(
            f"{world.size} process(es) run, trainer.devices × trainer.num_nodes is {asked}: start as many by torchrun"
        )
    if config.data.batch_size != "auto" and config.data.batch_size % world.size:
        raise ComputeError(f"data.batch_size {config.data.batch_size} does not divide by {world.size} processes")


def resolve_accelerator(accelerator: str, devices: int = 1) -> str:
    """`cpu`, `cuda` or `mps`; `auto` is cuda where there is one, else cpu.

    Raises:
        ComputeError: the asked-for devices are not there.
    """
    available = torch.cuda.device_count()
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
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


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on a device. CUDA's allocator keeps page-locked memory until the copy is made; Metal's does not."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def keep_freed_memory() -> None:
    """Let glibc keep what batches of photos give back, here and in workers forked from here.

    It returns more than some megabytes at the top of the heap to the system at once, and each next photo pays for
    fresh pages: 5.3 ms instead of 3.6 for one of 1024 px. Elsewhere than on glibc nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def allow_open_files() -> None:
    """As many as the system lets this process have: each tensor that a loader process hands over is an open file.

    A batch of 32 images is 96 of them, and workers hold several batches ready; the usual limit is 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def count_free_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: what the machine has left, or what a container's limit leaves of it.

    Args:
        cgroup: Folder of the container's limits, cgroup v2; files read before and not used since do not count as used.
    """
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError, KeyError):  # no cgroup v2, or no limit: "max"
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        parts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        free = min(free, max(0, limit - used + int(parts["inactive_file"])))
    return free


def fit_threads() -> int:
    """Use as many threads as pay off right now, and return how many. The last bits of all sums depend on it, so this is
    for what is bounded by time, and never the same twice.

    A step of two threads takes eight times as long as alone when another process keeps one of the two cores busy:
    OpenMP's threads wait for each other, spinning. `OMP_WAIT_POLICY=PASSIVE`, set before torch is imported, makes
    that three times; one thread makes it one. A container's quota of CPUs looks the same. torchrun sets one thread
    per rank itself: that is left alone.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    cores = count_cores()
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
