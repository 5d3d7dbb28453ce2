"""What one training is: data, model, optimizer and trainer together, and what its evaluation looks at."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.data import DataConfig
from agar_pipeline.config.model import ModelConfig
from agar_pipeline.config.optimizer import OptimizerConfig
from agar_pipeline.config.plain import STRICT
from agar_pipeline.config.split import Part
from agar_pipeline.config.trainer import Accelerator, TrainerConfig


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """What the evaluation looks at."""

    not_fingerprinted: ClassVar = {"accelerator", "num_workers"}

    accelerator: Accelerator = "auto"
    """`auto`: a GPU where there is one."""
    num_workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes; null: chosen from the machine."""
    part: Part = "val"
    """Which part is scored."""
    pictures: Annotated[int, Field(ge=0, le=100)] = 12
    """Plates drawn on the page: the worst ones, and some around the median."""


@dataclass(frozen=True, config=STRICT)
class ExperimentConfig:
    """A composed experiment: `configs/config.yaml` with the overrides of `configs/experiment/<name>.yaml`."""

    name: str
    """Filled in: the name of the file."""
    data: DataConfig
    """How images and boxes reach the model."""
    model: ModelConfig
    """Which detector; a file of `configs/model/`, by `override /model: NAME`."""
    optimizer: OptimizerConfig
    """How weights move; a file of `configs/optimizer/`."""
    trainer: TrainerConfig
    """How long, how exact, on what; a file of `configs/trainer/`."""
    evaluation: EvaluationConfig
    """What is scored and drawn."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the weights at the start, the order of the images and their augmentation."""

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
        return TrainingConfig(self.data, self.model, self.optimizer, trainer, self.seed, forecast_for=self.trainer)


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """The part of an experiment that training reads."""

    not_fingerprinted: ClassVar = {"forecast_for"}

    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    seed: int
    forecast_for: TrainerConfig | None = None
    """The limits of the training that a smoke step stands for; nothing but its forecast depends on them."""

    @model_validator(mode="after")
    def _check_world(self) -> TrainingConfig:
        world_size = self.trainer.devices * self.trainer.num_nodes
        if self.data.batch_size != "auto" and self.data.batch_size % world_size:
            raise ValueError(
                f"data.batch_size {self.data.batch_size} is global and must divide by "
                f"trainer.devices × trainer.num_nodes = {world_size}"
            )
        return self
