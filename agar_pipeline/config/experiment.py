"""The config of an experiment: data, model, optimizer and trainer of its training, and its evaluation."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.counting import CountingConfig
from agar_pipeline.config.data import DataConfig
from agar_pipeline.config.model import ModelConfig
from agar_pipeline.config.optimizer import OptimizerConfig
from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.config.split import Part
from agar_pipeline.config.trainer import Accelerator, TrainerConfig
from agar_pipeline.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """Which part the evaluation scores, and how."""

    not_fingerprinted: ClassVar = {"accelerator", "num_workers"}

    accelerator: Accelerator = "auto"
    """`auto`: a GPU if there is one."""
    num_workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes; null: chosen from the machine."""
    part: Part = "val"
    """The part that is scored."""
    pictures: Annotated[int, Field(ge=0, le=100)] = 12
    """Number of plates drawn on the evaluation page: the worst ones, and some around the median."""


@dataclass(frozen=True, config=STRICT)
class ScoringConfig(EvaluationConfig):
    """What the step `evaluation` reads: the section `evaluation` of the experiment, and how the pipeline counts."""

    counting: CountingConfig = dataclasses.field(default_factory=CountingConfig)
    """See `PipelineConfig.counting`."""


@dataclass(frozen=True, config=STRICT)
class ReviewConfig:
    """How the asset `label_review` is made, which is built only when it is asked for."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Number of parts that the photos of train are divided into. For each one a model is trained on the others."""
    schedule: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Length of each of these trainings: this share of `max_epochs`, `max_steps` and `max_seconds` of the trainer."""
    pictures: Annotated[int, Field(ge=0, le=400)] = 48
    """Number of suspects drawn on the page."""


@dataclass(frozen=True, config=STRICT)
class ExperimentConfig:
    """A composed experiment: `configs/config.yaml` with the overrides of `configs/experiment/<name>.yaml`."""

    name: str
    """Filled in: the name of the file."""
    data: DataConfig
    """How images and boxes are prepared for the model."""
    model: ModelConfig
    """The detector; a file of `configs/model/`, chosen with `override /model: NAME`."""
    optimizer: OptimizerConfig
    """How the weights are updated; a file of `configs/optimizer/`."""
    trainer: TrainerConfig
    """Limits, precision and hardware of the training; a file of `configs/trainer/`."""
    evaluation: EvaluationConfig
    """What is scored and drawn."""
    review: ReviewConfig = dataclasses.field(default_factory=ReviewConfig)
    """How labels are reviewed."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the initial weights, the order of the images and their augmentation."""

    @model_validator(mode="after")
    def _check_training_run(self) -> ExperimentConfig:
        self.training_run  # noqa: B018 - building it runs its checks
        return self

    @property
    def training_run(self) -> TrainingConfig:
        return TrainingConfig(self.data, self.model, self.optimizer, self.trainer, self.seed)

    @property
    def smoke_run(self) -> TrainingConfig:
        """The training for a smoke run: one optimizer step of the same config.

        The limits are replaced by those of one step, so that a longer training does not make the smoke run stale.
        """
        trainer = dataclasses.replace(
            self.trainer, max_epochs=None, max_steps=1, max_seconds=None, val_every_n_epochs=1, log_every_n_steps=1
        )
        return TrainingConfig(self.data, self.model, self.optimizer, trainer, self.seed, forecast_for=self.trainer)

    def label_review(self, group_by: str | None, counting: CountingConfig) -> LabelReviewConfig:
        """The review of labels in a pipeline that groups its photos and counts in this way."""
        share, limits = self.review.schedule, self.trainer
        trainer = dataclasses.replace(
            limits,
            max_epochs=None if limits.max_epochs is None else math.ceil(share * limits.max_epochs),
            max_steps=None if limits.max_steps is None else math.ceil(share * limits.max_steps),
            max_seconds=None if limits.max_seconds is None else share * limits.max_seconds,
            logger="none",
        )
        return LabelReviewConfig(
            self.data,
            self.model,
            self.optimizer,
            trainer,
            self.seed,
            folds=self.review.folds,
            pictures=self.review.pictures,
            group_by=group_by,
            counting=counting,
        )


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
    """The limits of the full training, set in a smoke run only. They affect the forecast and nothing else."""

    @model_validator(mode="after")
    @collected
    def _check_world(self) -> TrainingConfig:
        world_size = self.trainer.devices * self.trainer.num_nodes
        if self.data.batch_size != "auto" and self.data.batch_size % world_size:
            raise ConfigError(
                f"is for all processes, and does not divide by trainer.devices × trainer.num_nodes = {world_size}",
                where="data.batch_size",
                value=self.data.batch_size,
                next_step=f"write a multiple of {world_size}",
            )
        return self


@dataclass(frozen=True, config=STRICT)
class LabelReviewConfig(TrainingConfig):
    """What the step `label_review` reads: the training of one fold, and the section `review` of the experiment."""

    not_trained_by: ClassVar = {"pictures", "counting"}
    """Fields that do not change the trainings of the folds."""

    folds: int = 5
    pictures: int = 48
    group_by: str | None = None
    """See `SplitConfig.group_by`; photos of one group stay in one fold."""
    counting: CountingConfig = dataclasses.field(default_factory=CountingConfig)
    """See `PipelineConfig.counting`."""
