"""Leases GPUs: one run at a time uses a GPU, and a lease ends with its process."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from agar_pipeline.config import TrainerConfig
from agar_pipeline.files import locks
from agar_pipeline.ownership.home import open_home
from agar_pipeline.processes.devices import require_devices, uses_gpus, visible_gpus
from agar_pipeline.processes.network import check_interface, find_loopback
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural


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
            ranks = plural(trainer.devices, "process communicates", "processes communicate")
            log(f"{ranks} over the network interface {interface}")
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
    with locks.locked(folder / "choosing.lock", on_wait=lambda: log("another run waits for a GPU; this one is next")):
        held: list[str] = []
        for gpu in gpus:
            descriptor = locks.acquire(lock_of[gpu], wait=False) if len(held) < count else None
            if descriptor is not None:
                stack.callback(os.close, descriptor)
                held.append(gpu)
        for gpu in [name for name in gpus if name not in held][: count - len(held)]:
            waiting = f"GPU {gpu} is used by another run of this home; this run waits for it"
            stack.enter_context(locks.locked(lock_of[gpu], on_wait=lambda text=waiting: log(text)))  # type: ignore[misc]
            held.append(gpu)
    return held
