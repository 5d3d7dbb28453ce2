"""Chooses device, precision and threads for a training, and checks the ranks against the config."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from agar_pipeline.config import TrainingConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.processes.devices import count_cores
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

OPEN_FILES = 65_536
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass(frozen=True)
class Site:
    """Where a training runs: its ranks, accelerator and precision."""

    world: World
    accelerator: str
    precision: str

    @classmethod
    def find(cls, config: TrainingConfig, log: Log) -> Site:
        """Read the ranks from the environment, and resolve accelerator and precision.

        Raises:
            ComputeError: the devices or the number of processes are not those that the config asks for.
        """
        world = World.from_environment()
        _require_world(world, config)
        accelerator = resolve_accelerator(config.trainer.accelerator, world.local_size)
        precision = resolve_precision(config.trainer.precision, accelerator)
        if precision != config.trainer.precision:
            log(f"this hardware does not support precision {config.trainer.precision}: {precision} is used")
        log(f"{plural(world.size, 'process', 'processes')} on {accelerator}, {precision}")
        return cls(world, accelerator, precision)


def _require_world(world: World, config: TrainingConfig) -> None:
    asked = config.trainer.devices * config.trainer.num_nodes
    if world.size != asked:
        raise ComputeError(
            f"{plural(world.size, 'process runs', 'processes run')}, trainer.devices × trainer.num_nodes is {asked}",
            next_step="start as many with torchrun, or let `agar train` start them",
        )
    if config.data.batch_size != "auto" and config.data.batch_size % world.size:
        raise ComputeError(
            f"does not divide by {world.size} processes",
            where="data.batch_size",
            value=config.data.batch_size,
            next_step=f"set data.batch_size to a multiple of {world.size}",
        )


def resolve_accelerator(accelerator: str, devices: int = 1) -> str:
    """`cpu`, `cuda` or `mps`; `auto` is cuda if it is available, else cpu.

    Raises:
        ComputeError: the requested devices are not available.
    """
    available = torch.cuda.device_count()
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and available < devices:
        raise ComputeError(
            f"{plural(devices, 'CUDA device is', 'CUDA devices are')} needed, {plural(available, 'is', 'are')} visible",
            next_step="lower trainer.devices, set trainer.accelerator=cpu, or run `agar launch-check`",
        )
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise ComputeError(
            "needs a Metal device, which this machine does not have",
            where="trainer.accelerator",
            value="mps",
            next_step="set trainer.accelerator=cpu",
        )
    return accelerator


def resolve_precision(precision: str, accelerator: str) -> str:
    """The requested precision, replaced if the hardware has no fast form of it.

    CPUs without bfloat16 instructions emulate it, ten times slower than float32.
    """
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
    if not hasattr(torch.cpu, "get_capabilities"):  # torch 2.9
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


def autocast(precision: str, accelerator: str) -> torch.autocast:
    """The autocast context for a model of this (resolved) precision."""
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(accelerator, dtype, enabled=precision != "32-true")


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to a device, asynchronously for CUDA only.

    CUDA's allocator keeps page-locked memory until the copy is made; Metal's does not.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for reuse, in this process and in processes forked from it.

    By default glibc returns more than some megabytes at the top of the heap to the system, and the next photo needs new
    pages: 5.3 ms instead of 3.6 ms for a photo of 1024 px. On systems without glibc this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def allow_open_files() -> None:
    """Raise the limit of open files as far as the system allows, at most to `OPEN_FILES`.

    Each tensor that a loader process hands over is an open file. A batch of 32 images needs 96 of them, and loader
    processes keep several batches ready; the usual limit is 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def count_free_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still allocate: the machine's available memory, or less if a container limits it.

    Args:
        cgroup: Folder of the container's limits (cgroup v2). Inactive file pages do not count as used.
    """
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError, KeyError):  # no cgroup v2, or no limit: "max"
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        parts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        free = min(free, max(0, limit - used + int(parts["inactive_file"])))
    return free


@contextlib.contextmanager
def threads_restored() -> Iterator[None]:
    """Context at whose end torch uses as many threads as before it.

    The number of threads that one training chose must not change the last bits of the next one in the same process.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit_threads() -> int:
    """Measure which number of torch threads is fastest now, set it, and return it.

    The number of threads changes the last bits of all sums. For this reason it is only called for trainings with a time
    limit, which are not repeatable anyway.

    If another process keeps one of two cores busy, a step with two threads takes eight times as long as on an idle
    machine, because OpenMP's threads spin while they wait for each other. With `OMP_WAIT_POLICY=PASSIVE`, set before
    torch is imported, it takes three times as long; with one thread it takes no longer. A container's CPU quota has the
    same effect. torchrun sets `OMP_NUM_THREADS` to one thread per rank; that is not changed.
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
    """Seconds of a small convolution: the median of six measurements, so that one outlier does not decide."""
    torch.set_num_threads(threads)
    images, weight = torch.ones(2, 48, 64, 64), torch.ones(48, 48, 3, 3)
    seconds = []
    for _ in range(7):
        started_at = time.perf_counter()
        torch.relu(torch.nn.functional.conv2d(images, weight, padding=1))
        seconds.append(time.perf_counter() - started_at)
    return sorted(seconds[1:])[3]
