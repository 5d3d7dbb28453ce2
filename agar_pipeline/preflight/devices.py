"""Checks the devices, and an all-reduce with the number of ranks and the network interface of the training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.preflight.check import Check
from agar_pipeline.processes import devices, gpu_leases, network
from agar_pipeline.processes.child import child_main
from agar_pipeline.processes.launch import run_child
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

FREE_SHARE = 0.5
"""Share of a GPU's memory that should be free; below it, another process is using the GPU."""
WORDS = 4_000_000
"""Number of floats that are summed (16 MB): as many as the gradients of a small detector."""


def check_ranks(trainer: TrainerConfig, home: Path, log: Log) -> Iterator[Check]:
    """Start the ranks as training does, and let them run an all-reduce."""
    gpus, cores = devices.visible_gpus(), devices.count_cores()
    named = f" ({', '.join(gpus)})" if gpus else ""
    visible = f"{plural(len(gpus), 'CUDA device')} visible{named}, {plural(cores, 'core')}"
    world_size = trainer.devices * trainer.num_nodes
    asked = f"{trainer.devices} asked for: world size {world_size}"
    try:
        devices.require_devices(trainer)
        yield Check("devices", "OK", f"{visible}; {asked}")
        interface = trainer.socket_ifname or network.find_loopback()
        with gpu_leases.leased(trainer, home, log) as env:
            reply = run_child("agar_pipeline.preflight.devices", {}, log, ranks=trainer.devices, env=env)
    except ComputeError as error:
        yield Check("devices", "FAIL", error.problem, error.next_step or "lower trainer.devices")
        return
    yield from _judge(reply, trainer, interface)


def _judge(reply: dict[str, Any], trainer: TrainerConfig, interface: str | None) -> Iterator[Check]:
    if devices.uses_gpus(trainer.accelerator) and not reply["device"].startswith("cuda"):
        fix = "install a torch that was built for this driver, or set trainer.accelerator=cpu"
        yield Check("ranks", "FAIL", f"there are CUDA devices, but torch {reply['torch']} cannot use them", fix)
    elif reply["world_size"] != trainer.devices:
        fix = "start the training with `agar`, not with another launcher"
        yield Check(
            "ranks", "FAIL", f"the world size is {reply['world_size']}, but {trainer.devices} was asked for", fix
        )
    elif not reply["sum_is_right"]:
        yield Check(
            "ranks", "FAIL", "the ranks compute a wrong sum", "set trainer.socket_ifname to the right interface"
        )
    elif trainer.devices > 1:
        found = f"{trainer.devices} ranks sum 16 MB in {reply['seconds']:.2f} s by {reply['backend']} over {interface}"
        yield Check("ranks", "OK", f"{found}; the first is on {reply['device']}")
    else:
        yield Check("ranks", "OK", f"one process, on {reply['device']}")
    for device in reply["devices"]:
        free, total = device["free_bytes"], device["total_bytes"]
        found = f"{device['name']}: {free / 1e9:.1f} of {total / 1e9:.1f} GB free, other processes: {device['others']}"
        level = "OK" if free >= FREE_SHARE * total else "WARN"
        fix = "end the other processes on it, or use another GPU: CUDA_VISIBLE_DEVICES=NUMBER"
        yield Check("memory", level, found, fix)  # type: ignore[arg-type]


def look(request: dict[str, Any], log: Log) -> dict[str, Any]:
    """Run in each rank: all-reduce a tensor, and report the device, the world size and whether the sum is right."""
    import os

    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available() and bool(os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
    local_rank, backend = World.from_environment().local_rank, "nccl" if cuda else "gloo"
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    world_size, seconds, right = 1, 0.0, True
    if "RANK" in os.environ:
        dist.init_process_group(backend, device_id=device if cuda else None)
        world_size = dist.get_world_size()
        words = torch.full((WORDS,), float(dist.get_rank() + 1), device=device)
        dist.all_reduce(torch.zeros(1, device=device))  # opens the connections, so that they are not timed
        started_at = time.perf_counter()
        dist.all_reduce(words)
        right = bool((words == world_size * (world_size + 1) / 2).all())
        seconds = time.perf_counter() - started_at
    reply = {
        "device": str(device),
        "world_size": world_size,
        "backend": backend,
        "seconds": seconds,
        "sum_is_right": right,
        "torch": torch.__version__,
    }
    if dist.is_initialized():
        dist.destroy_process_group()
    return {**reply, "devices": [_describe(number) for number in range(torch.cuda.device_count())] if cuda else []}


def _describe(number: int) -> dict[str, Any]:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    try:
        others = torch.cuda.list_gpu_processes(number).splitlines()[1:]
    except (ModuleNotFoundError, RuntimeError):
        others = ["unknown: nvidia-ml-py is not installed"]
    name = torch.cuda.get_device_name(number)
    return {"name": name, "free_bytes": free, "total_bytes": total, "others": "; ".join(others) or "none"}


if __name__ == "__main__":
    child_main(look)
