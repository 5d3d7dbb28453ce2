"""What one training is: data, model, optimizer, trainer, evaluation."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.detectors import find_unknown_name
from agar_pipeline.config.plain import STRICT
from agar_pipeline.config.split import Part

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class TilesConfig:
    """Crops of the photo at `data.scale`, for plates whose colonies vanish when the whole is shrunk to one input.

    Plates are predicted in one pass at that scale up to 2,048 px, else in overlapping tiles.
    """

    size: Annotated[int, Field(ge=64, le=8192)]
    """Side of a tile, pixels at `data.scale`."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Least overlap of neighbours when a plate is predicted in tiles, pixels at `data.scale`. A third more than the
    largest colony makes the seams exact; null: that, from the training data, and half a tile at most."""
    empty: Share = 0.2
    """Share of the training crops taken anywhere on the plate, agar without colonies included; the others hold one."""

    @model_validator(mode="after")
    def _check_overlap(self) -> TilesConfig:
        if self.overlap is not None and self.overlap > self.size // 2:
            raise ValueError(f"tiles.overlap {self.overlap} is more than half of tiles.size {self.size}")
        return self


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """How images and boxes reach the model."""

    not_fingerprinted: ClassVar = {"num_workers", "prefetch", "pin_memory", "frozen"}

    input_size: Annotated[int, Field(ge=32, le=8192)] | Literal["auto"] = 512
    """Longer side of a whole image as the model sees it, pixels; smaller images are enlarged. auto: such that colonies
    have the size at which they are learnt best, from the training data. Not used with `tiles`."""
    scale: Annotated[int, Field(ge=32, le=8192)] | Literal["auto"] | None = None
    """Longer side that photos are scaled to before tiles are cut from them, pixels. null: they keep their size; auto:
    as for `input_size`. Used with `tiles` only."""
    tiles: TilesConfig | Literal["auto"] | None = None
    """null: whole plates at `input_size`. auto: the same where `input_size` is given or the scaled photo is small, else
    tiles of it."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 4
    """Global: divided by the world size. auto: from the size of what the model sees."""
    num_workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes per rank; null: chosen from the machine."""
    prefetch: Annotated[int, Field(ge=1, le=64)] | None = None
    """Batches that each loader process holds ready; null: chosen from the machine."""
    pin_memory: bool | None = None
    """Page-locked memory for transfers to a GPU; null: where there is one."""
    flip: bool = True
    """Random horizontal and vertical flips."""
    quarter_turns: bool = True
    """Random rotation by 0, 90, 180 or 270°: with the flips, all eight orientations of a plate."""
    scale_jitter: Share = 0.0
    """Largest random change of scale, as a share; what grows beyond the input is cropped at random."""
    copy_paste: Annotated[int, Field(ge=0, le=100)] = 0
    """Colonies of another training photo that are put onto an image at most, where nothing is annotated."""
    brightness: Share = 0.2
    """Largest random change of brightness, as a share."""
    contrast: Share = 0.0
    """Largest random change of contrast, as a share."""
    saturation: Share = 0.0
    """Largest random change of saturation, as a share."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest random turn of the hue, as a share of the circle; costs ten times what all else does."""
    frozen: bool = False
    """Written by `agar tune-data` beside what `auto` chose: `agar plan` then says what `auto` would choose instead."""

    @property
    def image_side(self) -> int | None:
        """Longer side that photos are scaled to, pixels; None: they keep their size. Once `auto` is settled."""
        side = self.scale if self.tiles else self.input_size
        assert side != "auto", "fit_config comes first"
        return side

    @property
    def model_side(self) -> int:
        """Longer side of what the model is trained on, pixels; once `auto` is settled."""
        assert self.tiles != "auto", "fit_config comes first"
        side = self.tiles.size if self.tiles else self.input_size
        assert side != "auto", "fit_config comes first"
        return side

    @property
    def batch(self) -> int:
        """`batch_size` once `auto` is settled."""
        assert self.batch_size != "auto", "fit_config comes first"
        return self.batch_size

    @property
    def windows(self) -> TilesConfig | None:
        """`tiles` once `auto` is settled."""
        assert self.tiles != "auto", "fit_config comes first"
        return self.tiles


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Which detector."""

    by_content: ClassVar = {"weights"}

    name: str = "tiny"
    """`tiny`, or a name from torchvision's registry of detectors."""
    weights: str | None = None
    """null; a member of torchvision's weights enum (`COCO_V1`, `DEFAULT`); or a path to a local state dict."""
    weights_backbone: str | None = None
    """null; or a member of the weights enum of the backbone alone (`IMAGENET1K_V1`, `DEFAULT`)."""
    score_floor: Share = 0.05
    """Detections below this score are not kept."""
    smallest_anchor: Annotated[float, Field(ge=2, le=1024)] | Literal["auto"] = "auto"
    """Side of the smallest anchor, pixels at the model's scale; auto: from the training boxes."""
    max_detections: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = "auto"
    """Detections an image may have; auto: twice the boxes of the fullest plate. Prediction goes beyond it at need."""

    @model_validator(mode="after")
    def _check_names(self) -> ModelConfig:
        if unknown := find_unknown_name(self.name, self.weights_backbone):
            raise ValueError(unknown)
        return self


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with momentum."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate after the warm-up, for the global batch as it is: another batch size does not change it."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Share of the weights that a step at learning rate 1 takes away."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For sgd only."""
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    """Steps over which the learning rate rises to `lr`."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Over the whole of training, max_steps, max_epochs or max_seconds, whichever is set: `cosine` falls to 0, `step`
    is multiplied by `step_factor` at each share of `step_at`."""
    step_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.6, 0.9)
    """For `step`: shares of training, rising."""
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """For `step`."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 10.0
    """Largest norm of all gradients together; null: not clipped."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and keep a running average of the weights (0.999 forgets over about a thousand steps); null: none."""


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
