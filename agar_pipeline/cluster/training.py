"""Runs the ranks of one training under Ray Train, with the same handler and environment as under torchrun.

All nodes share the home. Log lines, reply and error of rank 0 are returned in the folder of the request, and a
restarted training resumes from its work folder. Here: placing, restarting, stopping. Not here: what a rank
does (`detection.training`).
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from agar_pipeline.cluster.connection import cluster_address, joined
from agar_pipeline.config import TrainerConfig, from_plain
from agar_pipeline.errors import ComputeError
from agar_pipeline.files import disk
from agar_pipeline.processes.child import CHILD_ENV, ERROR_FILE, answer_request, message_log
from agar_pipeline.processes.environment import worker_environment
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

MAX_RESTARTS = 3
"""Restarts after workers died. If a rank reports an error, there is no restart, because the error would come again."""


def train_on_ray(request: dict[str, Any], log: Log) -> dict[str, Any]:
    """Run the driver: place the ranks, wait for them, and let Ray restart them if one dies.

    Args:
        request: The request for the ranks; `handler` names the module whose `main` handles it.

    Raises:
        ComputeError: the cluster cannot be joined or is too small, or ranks died too often.
    """
    path = Path(sys.argv[1])
    trainer: TrainerConfig = from_plain(TrainerConfig, request["config"]["trainer"], where="trainer")
    stop_file = path.parent / "stop"
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    with joined(_ranks_env(trainer, stop_file), show_output=True):
        signal.signal(signal.SIGTERM, _asking_by(stop_file))
        scaling, words = _place(trainer)
        log(words)
        _fit(path, scaling)
    return {}


def _ranks_env(trainer: TrainerConfig, stop_file: Path) -> dict[str, str]:
    """Return the variables of the workers. Ray sets their ranks as torchrun does."""
    env = {**worker_environment(), **CHILD_ENV, **trainer.environment, "AGAR_STOP_FILE": str(stop_file)}
    if trainer.socket_ifname is not None:
        env |= {"GLOO_SOCKET_IFNAME": trainer.socket_ifname, "NCCL_SOCKET_IFNAME": trainer.socket_ifname}
    return env


def _asking_by(stop_file: Path) -> Callable[[int, FrameType | None], None]:
    def ask(number: int, frame: FrameType | None) -> None:
        stop_file.touch()  # the ranks check for the file after each step, and stop together

    return ask


def _place(trainer: TrainerConfig) -> tuple[Any, str]:
    """Return Ray's scaling config for the ranks, and a description of it.

    Raises:
        ComputeError: the cluster has too few nodes that are large enough. Ray would wait for more without end.
    """
    import ray.train

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has_gpus = any(resources.get("GPU") for resources in nodes)
    kind = "GPU" if trainer.accelerator == "cuda" or (trainer.accelerator == "auto" and has_gpus) else "CPU"
    fitting = sum(resources.get(kind, 0) >= trainer.devices for resources in nodes)
    where = cluster_address() or "of this machine"
    if fitting < trainer.num_nodes:
        sizes = ", ".join(f"{resources.get(kind, 0):g}" for resources in nodes)
        raise ComputeError(
            f"with trainer.devices={trainer.devices} does not fit the Ray cluster {where}, "
            f"which has nodes with this number of {kind}s: {sizes}",
            where="trainer.num_nodes",
            value=trainer.num_nodes,
            next_step="lower trainer.num_nodes or trainer.devices, or add nodes, which `ray status` lists",
        )
    count = trainer.num_nodes * trainer.devices
    spread = "STRICT_SPREAD" if trainer.devices == 1 else "SPREAD"
    scaling = ray.train.ScalingConfig(
        num_workers=count,
        use_gpu=kind == "GPU",
        placement_strategy="STRICT_PACK" if trainer.num_nodes == 1 else spread,
    )
    workers = f"{plural(count, 'Ray worker')} on {plural(trainer.num_nodes, 'node')}"
    return scaling, f"{workers} of the cluster {where}, each with a {kind}"


def _fit(request_path: Path, scaling: Any) -> None:
    import ray.train
    from ray.train.torch import TorchTrainer

    class Watch(ray.train.UserCallback):
        """Runs in the driver: lets Ray restart dead workers, but not after an error that a rank reported."""

        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            if (request_path.parent / ERROR_FILE).exists():
                raise RuntimeError("a rank said why it ended")
            ended = "; ".join(f"rank {rank}: {_last_line(error)}" for rank, error in sorted(worker_exceptions.items()))
            message_log(request_path.parent)(f"Ray starts all ranks again from the last resume point ({ended})")

    trainer = TorchTrainer(
        run_rank,
        train_loop_config={"request": str(request_path)},
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name="ranks",
            storage_path=str(request_path.parent / "ray"),
            failure_config=ray.train.FailureConfig(max_failures=MAX_RESTARTS),
            callbacks=[Watch()],
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:  # if a rank reported an error, the parent shows that one
        raise ComputeError(
            f"training on Ray ended after {MAX_RESTARTS} restarts, because workers died: {_last_line(error)}",
            next_step="run `ray status`, and read the logs of the nodes",
        ) from error


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()[:200]


def run_rank(given: dict[str, str]) -> None:
    """Run a rank in one of Ray's workers. RANK, WORLD_SIZE and the others are in the environment, as under torchrun."""
    path = Path(given["request"])
    request = json.loads(path.read_text())
    world = World.from_environment()
    if world.is_first:
        for begun in Path(request["out_dir"]).iterdir():  # left by a rank that died
            disk.remove(begun)
    try:
        answer_request(importlib.import_module(request["handler"]).main, path)
    except SystemExit as ended:
        raise RuntimeError(f"rank {world.rank} ended with exit code {ended.code}") from ended
