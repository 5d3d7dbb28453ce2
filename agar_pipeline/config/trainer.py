"""The config group `trainer`: limits, precision and hardware of a training."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Launcher = Literal["torchrun", "ray"]


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """Limits, precision and hardware of a training.

    At least one of the three limits is set. The first one that is reached ends the training.
    """

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
    """Number of times that each image is seen."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Number of optimizer steps, one per batch."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Time limit from the first optimizer step, seconds. Loading and the last evaluation are not included."""
    val_every_n_epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs between two validations on the val part. Each validation keeps the weights if they are the best so far."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Number of validations without a better val mAP after which training ends; null: only the limits end it."""
    precision: Precision = "32-true"
    """`16-mixed` needs a GPU; `bf16-mixed` needs a GPU or CPU that supports it."""
    channels_last: bool = False
    """Keep the colour channels of a pixel next to each other in memory: faster on GPUs with mixed precision."""
    deterministic: bool = False
    """Use only kernels that compute the same bits each time. On a GPU they are slower, and an operation without such a
    kernel is an error. A CPU is deterministic in any case. A training that `max_seconds` ends is not reproducible."""
    accelerator: Accelerator = "auto"
    """`auto`: a GPU if there is one."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Processes per node, one per GPU. The default is one, regardless of the machine."""
    num_nodes: Annotated[int, Field(ge=1)] = 1
    """Machines; more than one needs `launcher: ray`."""
    launcher: Launcher = "torchrun"
    """What starts the processes: torchrun on each machine, or Ray Train on a cluster (`make setup-cluster`)."""
    socket_ifname: str | None = None
    """Network interface for NCCL and gloo. null: the loopback on one machine, else an interface that is up, which is
    logged."""
    log_every_n_steps: Annotated[int, Field(ge=1)] = 10
    """Optimizer steps between two rows of losses in `metrics.csv`."""
    logger: Literal["tensorboard", "mlflow", "none"] = "tensorboard"
    """Logger that gets the metrics in addition to `metrics.csv`. MLflow writes to a folder of the home; no account is
    needed."""

    @model_validator(mode="after")
    @collected
    def _check_limits(self) -> TrainerConfig:
        if self.max_epochs is None and self.max_steps is None and self.max_seconds is None:
            raise ConfigError(
                "has no limit, so that training would never end",
                where="trainer",
                next_step="set one of max_epochs, max_steps, max_seconds",
            )
        return self

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that must be set before CUDA starts."""
        return {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if self.deterministic else {}
