"""What one training is: data, model, optimizer, trainer, evaluation."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.pipeline import Part
from agar_pipeline.config.plain import STRICT


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """How images and boxes reach the model."""

    not_fingerprinted: ClassVar = {"num_workers"}

    input_size: Annotated[int, Field(ge=32, le=8192)] = 512
    """Longer side of an image as the model sees it, pixels; smaller images are enlarged."""
    batch_size: Annotated[int, Field(ge=1)] = 4
    """Global: divided by the world size."""
    num_workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes per rank; null: chosen from the machine."""
    flip: bool = True
    """Random horizontal and vertical flips."""
    transpose: bool = True
    """Random swap of the axes: with the flips, all eight orientations of a plate."""
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Largest random change of brightness, as a share."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Which detector."""

    name: str = "tiny"
    """`tiny`, or a name from torchvision's registry of detectors."""
    weights: str | None = None
    """null; a member of torchvision's weights enum (`COCO_V1`, `DEFAULT`); or a path to a local state dict."""
    weights_backbone: str | None = None
    """The same for the backbone alone."""
    score_floor: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Detections below this score are not kept."""


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For sgd only."""
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to 0 over the whole of training: max_steps, max_epochs or max_seconds, whichever is set."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 10.0


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """How long, how exact, on what. At least one of the three limits is set; the first one reached ends training."""

    not_fingerprinted: ClassVar = {"accelerator", "devices", "num_nodes", "socket_ifname", "log_every_n_steps"}

    max_epochs: Annotated[int, Field(ge=1)] | None = None
    max_steps: Annotated[int, Field(ge=1)] | None = None
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Budget of training, from its first step; loading and the last evaluation come on top."""
    val_every_n_epochs: Annotated[int, Field(ge=1)] = 1
    precision: Precision = "32-true"
    channels_last: bool = False
    accelerator: Accelerator = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    """Processes per node, one per GPU. Whatever the machine has, the default is one."""
    num_nodes: Annotated[int, Field(ge=1)] = 1
    socket_ifname: str | None = None
    """Network interface for NCCL and gloo; null: theirs to choose."""
    log_every_n_steps: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _check_limits(self) -> TrainerConfig:
        if self.max_epochs is None and self.max_steps is None and self.max_seconds is None:
            raise ValueError("set one of max_epochs, max_steps, max_seconds: training would never end")
        return self


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """What the evaluation looks at."""

    not_fingerprinted: ClassVar = {"accelerator", "num_workers"}

    accelerator: Accelerator = "auto"
    num_workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes; null: chosen from the machine."""
    part: Part = "val"
    pictures: Annotated[int, Field(ge=0, le=100)] = 12
    """Plates drawn on the page: the worst ones, and some around the median."""


@dataclass(frozen=True, config=STRICT)
class ExperimentConfig:
    """A composed experiment: `configs/config.yaml` with the overrides of `configs/experiment/<name>.yaml`."""

    name: str
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _check_training_run(self) -> ExperimentConfig:
        self.training_run  # noqa: B018 - its own checks
        return self

    @property
    def training_run(self) -> TrainingConfig:
        return TrainingConfig(self.data, self.model, self.optimizer, self.trainer, self.seed)

    @property
    def smoke_run(self) -> TrainingConfig:
        """One step of the same training; its own limits, so that a longer training does not ask for a new smoke."""
        trainer = dataclasses.replace(
            self.trainer, max_epochs=None, max_steps=1, max_seconds=None, val_every_n_epochs=1, log_every_n_steps=1
        )
        return TrainingConfig(self.data, self.model, self.optimizer, trainer, self.seed)


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """The part of an experiment that training reads."""

    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    seed: int

    @model_validator(mode="after")
    def _check_world(self) -> TrainingConfig:
        world_size = self.trainer.devices * self.trainer.num_nodes
        if self.data.batch_size % world_size:
            raise ValueError(
                f"data.batch_size {self.data.batch_size} is global and must divide by "
                f"trainer.devices × trainer.num_nodes = {world_size}"
            )
        return self
