"""What a lab sets: typed, checked, and the only place where Hydra composes.

Here: the dataclasses of a pipeline and of an experiment, the home, and what of a config enters a fingerprint.
Not here: what the values do. No value in a config is ever imported, called or instantiated.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parent.parent
STRICT = ConfigDict(extra="forbid")
T = TypeVar("T")

BoxRule = Literal[
    "non_finite_box",
    "degenerate_box",
    "out_of_bounds_box",
    "duplicate_box",
    "unknown_class",
    "unknown_image",
    "duplicate_image_id",
    "duplicate_annotation_id",
    "missing_image",
    "empty_part",
]
"""Every rule of the bbox report; `agar_pipeline.detection.boxes` and `steps.bbox_report` apply them."""
DROPPABLE_RULES = frozenset({"non_finite_box", "degenerate_box", "out_of_bounds_box", "duplicate_box", "unknown_class"})
Part = Literal["train", "val", "test"]
AutoRefresh = Literal[False, True, "train"]


def agar_home() -> Path:
    """The folder that holds everything the pipeline writes: `AGAR_HOME`, else `.agar/` in the checkout."""
    return Path(os.environ.get("AGAR_HOME") or CHECKOUT / ".agar").expanduser().absolute()


def configs_dir() -> Path:
    """The folder of the config groups: `AGAR_CONFIGS`, else `configs/` in the checkout."""
    return Path(os.environ.get("AGAR_CONFIGS") or CHECKOUT / "configs").expanduser().absolute()


def pipeline_name() -> str:
    """`AGAR_PIPELINE`, else `demo`."""
    return os.environ.get("AGAR_PIPELINE") or "demo"


@dataclass(frozen=True, config=STRICT)
class SnapshotConfig:
    """Which FiftyOne samples, and which of their boxes, make the data."""

    not_fingerprinted: ClassVar = {"database", "images_dir", "database_notice"}

    dataset: str
    """Name of the FiftyOne dataset."""
    database: str = "embedded"
    """`embedded`: our own mongod under the home; `fiftyone`: as the user's own FiftyOne is set up; or mongodb://…"""
    label_field: str = "ground_truth"
    """Field of type Detections; dots reach into embedded documents."""
    view: str | None = None
    """null: all samples; `tag:NAME`; `field:PATH=VALUE`; `saved:NAME` for a view saved in FiftyOne."""
    images_dir: str | None = None
    """Folder that the images' paths are relative to; null: the deepest folder that holds them all."""
    database_notice: bool = True
    """Say it, in one line, when FiftyOne would warn about the database's version."""


@dataclass(frozen=True, config=STRICT)
class SplitConfig:
    """How images are divided into parts."""

    method: Literal["random"] = "random"
    """`random`: a seeded shuffle of the sorted sample ids."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    fractions: dict[Part, Annotated[float, Field(ge=0, le=1)]] = dataclasses.field(
        default_factory=lambda: {"train": 0.8, "val": 0.2}
    )
    """Share of the images in each part; the shares sum to 1."""

    @model_validator(mode="after")
    def _check_fractions(self) -> SplitConfig:
        if abs(sum(self.fractions.values()) - 1) > 1e-9:
            raise ValueError(f"fractions {self.fractions} sum to {sum(self.fractions.values()):g}, they must sum to 1")
        if not {"train", "val"} <= set(self.fractions):
            raise ValueError(f"fractions {self.fractions} must name train and val")
        return self


@dataclass(frozen=True, config=STRICT)
class CocoCacheConfig:
    """What becomes of the boxes on their way into the COCO files."""

    class_map: dict[str, Annotated[int, Field(ge=1)]]
    """Label in FiftyOne → category_id. Several spellings may share an id; the first one names the class."""
    drop_box: tuple[BoxRule, ...] = ()
    """Rules whose boxes are left out; the report still lists and counts them."""

    @field_validator("class_map")
    @classmethod
    def _check_class_map(cls, class_map: dict[str, int]) -> dict[str, int]:
        category_ids = sorted(set(class_map.values()))
        if category_ids != list(range(1, len(category_ids) + 1)):
            raise ValueError(f"category ids {category_ids} must be 1…K without gaps")
        return class_map

    @property
    def class_names(self) -> list[str]:
        """Class names in order of category_id, 1…K."""
        names: dict[int, str] = {}
        for label, category_id in self.class_map.items():
            names.setdefault(category_id, label)
        return [names[category_id] for category_id in sorted(names)]


@dataclass(frozen=True, config=STRICT)
class BboxReportConfig:
    """What each broken rule means."""

    box_policy: dict[BoxRule, Literal["fail", "drop_box", "keep"]] = dataclasses.field(default_factory=dict)
    """`fail` stops training, `drop_box` leaves the box out of the COCO cache, `keep` only lists it."""


BOX_POLICY_DEFAULTS: dict[BoxRule, Literal["fail", "drop_box", "keep"]] = {
    "non_finite_box": "fail",
    "degenerate_box": "fail",
    "out_of_bounds_box": "keep",  # targets are clipped to the image: counted, harmless
    "duplicate_box": "keep",
    "unknown_class": "fail",
    "unknown_image": "fail",
    "duplicate_image_id": "fail",
    "duplicate_annotation_id": "fail",
    "missing_image": "fail",
    "empty_part": "fail",
}


@dataclass(frozen=True, config=STRICT)
class PipelineConfig:
    """What a lab runs: `configs/pipeline/<name>.yaml`."""

    name: str
    snapshot: SnapshotConfig
    class_map: dict[str, int]
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    box_policy: dict[BoxRule, Literal["fail", "drop_box", "keep"]] = dataclasses.field(default_factory=dict)
    experiments: tuple[str, ...] = ()
    """Experiments that Dagster orchestrates, each in a group of its own."""
    auto_refresh: AutoRefresh = False
    """What the sensor of `dagster dev` launches when the dataset changed: nothing, the data assets (true), or
    everything (`train`)."""

    @model_validator(mode="after")
    def _check_policy(self) -> PipelineConfig:
        for rule, action in self.box_policy.items():
            if action == "drop_box" and rule not in DROPPABLE_RULES:
                raise ValueError(f"box_policy.{rule}: drop_box is not possible, no single box is at fault; use fail")
        if len(set(self.experiments)) != len(self.experiments):
            raise ValueError(f"experiments {list(self.experiments)} names one twice")
        self.coco_cache  # noqa: B018 - checks the class map
        return self

    @property
    def full_box_policy(self) -> dict[BoxRule, Literal["fail", "drop_box", "keep"]]:
        return {**BOX_POLICY_DEFAULTS, **self.box_policy}

    @property
    def coco_cache(self) -> CocoCacheConfig:
        dropped = tuple(sorted(rule for rule, action in self.full_box_policy.items() if action == "drop_box"))
        return CocoCacheConfig(class_map=self.class_map, drop_box=dropped)

    @property
    def bbox_report(self) -> BboxReportConfig:
        return BboxReportConfig(box_policy=self.full_box_policy)


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


@dataclass(frozen=True, config=STRICT)
class LeaderboardConfig:
    """Which experiments are compared."""

    experiments: tuple[str, ...]


def to_plain(config: Any) -> dict[str, Any]:
    """A config dataclass as plain, JSON-ready values."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def fingerprinted(config: Any) -> dict[str, Any]:
    """What of a config enters a fingerprint: all of it but the fields that each class names in `not_fingerprinted`."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in getattr(config, "not_fingerprinted", ()):
            continue
        plain[field.name] = fingerprinted(value) if dataclasses.is_dataclass(value) else value
    return TypeAdapter(dict[str, Any]).dump_python(plain, mode="json")


def from_plain(config_type: type[T], plain: Mapping[str, Any], where: str) -> T:
    """Check plain values into a config dataclass.

    Raises:
        ConfigError: names the key, the value, `where` it stands, and the nearest known key.
    """
    try:
        return TypeAdapter(config_type).validate_python(plain)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_explain(config_type, item) for item in error.errors())) from error


def _explain(config_type: type, item: Mapping[str, Any]) -> str:
    path = ".".join(str(step) for step in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "unexpected_keyword_argument":
        known = _known_keys(config_type)
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.4)
        return f"unknown key {path}" + (f", did you mean {near[0]}?" if near else f"; known: {', '.join(known)}")
    if item["type"] in {"missing", "missing_argument"}:
        return f"{path} is missing"
    value = (
        "" if isinstance(item["input"], Mapping) or dataclasses.is_dataclass(item["input"]) else f" = {item['input']!r}"
    )
    return f"{path}{value}: {message}" if path else message


def _known_keys(config_type: type, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for field in dataclasses.fields(config_type):
        keys.append(prefix + field.name)
        nested = globals().get(field.type) if isinstance(field.type, str) else field.type
        if dataclasses.is_dataclass(nested):
            keys += _known_keys(nested, f"{prefix}{field.name}.")  # type: ignore[arg-type]
    return keys


def names_in(group: str) -> list[str]:
    """The choices of a config group, sorted."""
    return sorted(path.stem for path in (configs_dir() / group).glob("*.yaml"))


def load_pipeline(name: str | None = None) -> PipelineConfig:
    """Compose and check `configs/pipeline/<name>.yaml`; the default name is `AGAR_PIPELINE`, else `demo`."""
    name = name or pipeline_name()
    _require_choice("pipeline", name, "set AGAR_PIPELINE to one of them, or add the file")
    plain = _compose(f"pipeline/{name}", [])["pipeline"]
    return from_plain(PipelineConfig, {"name": name, **plain}, where=f"configs/pipeline/{name}.yaml")


def load_experiment(name: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Compose and check an experiment.

    Args:
        name: A file of `configs/experiment/`.
        overrides: Hydra's `key=value`, applied last.

    Raises:
        ConfigError: the experiment does not exist, or a key or value is wrong.
    """
    _require_choice("experiment", name, "choose one of them, or add the file")
    # `++`: a key that no file sets may be set all the same; the dataclasses know which keys there are
    forced = [f"++{word}" if "." in word.partition("=")[0] and word[0] not in "+~" else word for word in overrides]
    plain = _compose("config", [f"experiment={name}", *forced])
    return from_plain(ExperimentConfig, {"name": name, **plain}, where=f"experiment {name}")


def _require_choice(group: str, name: str, next_step: str) -> None:
    if name not in names_in(group):
        raise ConfigError(
            f"{group} {name!r} does not exist: no configs/{group}/{name}.yaml\n"
            f"there are: {', '.join(names_in(group)) or 'none'}; {next_step}"
        )


def _compose(config_name: str, overrides: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir())):
            plain = OmegaConf.to_container(compose(config_name, overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ConfigError(f"configs/{config_name}.yaml with {overrides or 'no overrides'}: {first_line}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
