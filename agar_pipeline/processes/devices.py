"""Counts the cores and GPUs of this machine, without importing torch.

Not here: the devices that torch finds (`loading.devices`), leases of GPUs (`gpu_leases`).
"""

from __future__ import annotations

import os
from pathlib import Path

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.text.plurals import plural


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def visible_gpus() -> list[str]:
    """Return the NVIDIA devices in CUDA_VISIBLE_DEVICES, or all of the machine if that is not set."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    found = [path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]
    return [str(number) for number in range(len(found))]


def uses_gpus(accelerator: str) -> bool:
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
            f"is more than {plural(len(gpus), 'visible CUDA device')}{seen}",
            where="trainer.devices",
            value=trainer.devices,
            next_step="lower trainer.devices, set trainer.accelerator=cpu, or run `agar launch-check`",
        )
    if not uses_gpus(trainer.accelerator) and trainer.devices > max(cores, 1):
        raise ComputeError(
            f"is more than this machine's {plural(cores, 'core')}, one for each process (accelerator "
            f"{trainer.accelerator})",
            where="trainer.devices",
            value=trainer.devices,
            next_step="lower trainer.devices",
        )
    if trainer.num_nodes > 1:
        raise ComputeError(
            "needs another launcher than torchrun, which starts processes on this machine only",
            where="trainer.num_nodes",
            value=trainer.num_nodes,
            next_step="set trainer.launcher=ray on a Ray cluster, or trainer.num_nodes=1",
        )
