"""How long, how exact, on what: the group `trainer`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain import STRICT

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Launcher = Literal["torchrun", "ray"]


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """How long, how exact, on what. At least one of the three limits is set; the first one reached ends training."""

    not_fingerprinted: ClassVar = {
        "accelerator",
        "devices",
        "num_nodes",
        "launcher",
        "socket_ifname",
        "log_every_n_steps",
        "logger",
    }

    max_epochs: Annotated[int, Field(ge=1)] | None = None
    """Times that each image is seen."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the optimizer, one a batch."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Budget of training, from its first step; loading and the last evaluation come on top."""
    val_every_n_epochs: Annotated[int, Field(ge=1)] = 1
    """How often the val part is scored, which is when the best weights so far are kept."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Validations without a better val mAP after which training ends; null: it goes on to its limit."""
    precision: Precision = "32-true"
    """`16-mixed` wants a GPU; `bf16-mixed` one that has it, or such a CPU."""
    channels_last: bool = False
    """Pictures in memory with their colours side by side: quicker on GPUs with mixed precision."""
    deterministic: bool = False
    """Only kernels that compute the same bits each time: on a GPU slower ones, and what has none is refused. A CPU does
    so anyway; a training that `max_seconds` ends is never the same twice."""
    accelerator: Accelerator = "auto"
    """`auto`: a GPU where there is one."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Processes per node, one per GPU. Whatever the machine has, the default is one."""
    num_nodes: Annotated[int, Field(ge=1)] = 1
    """Machines; more than one with `launcher: ray`."""
    launcher: Launcher = "torchrun"
    """Who starts the processes: torchrun on each machine, or Ray Train on a cluster (`make setup-cluster`)."""
    socket_ifname: str | None = None
    """Network interface for NCCL and gloo; null: the loopback on one machine, else one that is up, which is named."""
    log_every_n_steps: Annotated[int, Field(ge=1)] = 10
    """How often losses go into `metrics.csv`."""
    logger: Literal["tensorboard", "mlflow", "none"] = "tensorboard"
    """Who is shown the metrics beside `metrics.csv`; MLflow writes to a folder of the home, no account is needed."""

    @model_validator(mode="after")
    def _check_limits(self) -> TrainerConfig:
        if self.max_epochs is None and self.max_steps is None and self.max_seconds is None:
            raise ValueError("set one of max_epochs, max_steps, max_seconds: training would never end")
        return self

    @property
    def environment(self) -> dict[str, str]:
        """Variables that its processes must be given before CUDA starts."""
        return {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if self.deterministic else {}
