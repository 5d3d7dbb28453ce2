"""Counts cores and GPUs, leases GPUs and finds network interfaces, without importing torch.

Here: what the starting process checks and provides for a training. Not here: the devices that torch finds
(`detection`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.files import locks
from agar_pipeline.ownership.home import open_home

Log = Callable[[str], None]


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def visible_gpus() -> list[str]:
    """Return the NVIDIA devices in CUDA_VISIBLE_DEVICES, or all of the machine if that is not set."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    found = [path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]
    return [str(number) for number in range(len(found))]


def uses_gpus(accelerator: str) -> bool:
    """Whether a run with this accelerator uses CUDA devices."""
    return accelerator == "cuda" or (accelerator == "auto" and bool(visible_gpus()))


def require_devices(trainer: TrainerConfig) -> None:
    """Raise ComputeError if more devices are requested than exist. Those of a Ray cluster are not checked here."""
    if trainer.launcher == "ray":
        return
    gpus, cores = visible_gpus(), count_cores()
    if uses_gpus(trainer.accelerator) and len(gpus) < trainer.devices:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        seen = "" if given is None else f" (CUDA_VISIBLE_DEVICES={given})"
        raise ComputeError(
            f"trainer.devices={trainer.devices} on cuda, but {len(gpus)} CUDA device(s) are visible{seen}\n"
            "lower trainer.devices, set trainer.accelerator=cpu, or see `agar launch-check`"
        )
    if not uses_gpus(trainer.accelerator) and trainer.devices > max(cores, 1):
        raise ComputeError(
            f"trainer.devices={trainer.devices} on {trainer.accelerator}, but this machine has {cores} core(s): "
            f"lower trainer.devices, one process needs one core at least"
        )
    if trainer.num_nodes > 1:
        raise ComputeError(
            f"trainer.num_nodes={trainer.num_nodes} with trainer.launcher=torchrun: set trainer.launcher=ray, "
            "which starts the processes on each machine (docs/how-to/ray.md)"
        )


def find_loopback() -> str | None:
    """Return the network interface that the ranks of one machine communicate over; None if there is none."""
    return find_interface_of("127.0.0.1") or find_interface_of("::1")


def find_interface_of(address: str) -> str | None:
    """Return the network interface that has this address."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address == address for found in addresses):
            return name
    return None


def check_interface(name: str) -> None:
    """Raise ComputeError if no interface of this name is up."""
    import psutil

    stats = psutil.net_if_stats()
    if name not in stats or not stats[name].isup:
        up = ", ".join(sorted(other for other in stats if stats[other].isup))
        raise ComputeError(f"trainer.socket_ifname={name} is no interface that is up; there are: {up}")


@contextlib.contextmanager
def leased(trainer: TrainerConfig, home: Path, log: Log) -> Iterator[dict[str, str]]:
    """Lease the devices of a training for the block, and yield the environment variables that its ranks need.

    A GPU is used by one run at a time. A free GPU is chosen; if there is none, the run waits for the first one. A lease
    ends with its process.

    Raises:
        ComputeError: more devices are requested than exist, or the interface does not exist.
    """
    require_devices(trainer)
    env: dict[str, str] = {}
    if trainer.devices > 1:
        interface = trainer.socket_ifname or find_loopback()
        if interface is not None:
            check_interface(interface)
            env = {"NCCL_SOCKET_IFNAME": interface, "GLOO_SOCKET_IFNAME": interface}
            log(f"{trainer.devices} processes, which talk over {interface}")
    with leased_devices(trainer.accelerator, home, log, trainer.devices) as chosen:
        yield {**env, **chosen}


@contextlib.contextmanager
def leased_devices(accelerator: str, home: Path, log: Log, count: int = 1) -> Iterator[dict[str, str]]:
    """Lease devices for the block, and yield the environment variables of the processes that use them.

    Without GPUs nothing is leased. If the accelerator is not a GPU, the GPUs are hidden, so that none is used by
    mistake.
    """
    if not uses_gpus(accelerator):
        yield {} if accelerator == "auto" else {"CUDA_VISIBLE_DEVICES": ""}
        return
    with contextlib.ExitStack() as stack:
        chosen = _lease_gpus(stack, visible_gpus(), count, home, log)
        yield {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}


@contextlib.contextmanager
def leased_here(accelerator: str, home: Path, log: Log) -> Iterator[None]:
    """Do the same as `leased_devices` for one device and this process, before torch looks for devices."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with leased_devices(accelerator, home, log) as env:
        os.environ.update(env)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _lease_gpus(stack: contextlib.ExitStack, gpus: list[str], count: int, home: Path, log: Log) -> list[str]:
    """Lock `count` GPUs, free ones first. All waiting runs lock in the same order, so that there is no deadlock."""
    folder = open_home(home) / "leases"
    folder.mkdir(exist_ok=True)
    lock_of = {gpu: folder / f"cuda-{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.lock" for gpu in gpus}
    with locks.locked(folder / "choosing.lock", on_wait=lambda: log("another run waits for a GPU; waiting behind it")):
        held: list[str] = []
        for gpu in gpus:
            descriptor = locks.acquire(lock_of[gpu], wait=False) if len(held) < count else None
            if descriptor is not None:
                stack.callback(os.close, descriptor)
                held.append(gpu)
        for gpu in [name for name in gpus if name not in held][: count - len(held)]:
            waiting = f"GPU {gpu} is used by another run of this home; waiting for it"
            stack.enter_context(locks.locked(lock_of[gpu], on_wait=lambda text=waiting: log(text)))  # type: ignore[misc]
            held.append(gpu)
    return held
