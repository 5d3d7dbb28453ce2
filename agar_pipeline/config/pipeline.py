"""What a lab runs: the dataset, the class map, the split, the box policy, the experiments to orchestrate."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain import STRICT

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
"""Every rule of the bbox report; `detection.box_rules` applies them."""
DROPPABLE_RULES = frozenset({"non_finite_box", "degenerate_box", "out_of_bounds_box", "duplicate_box", "unknown_class"})
Part = Literal["train", "val", "test"]
AutoRefresh = Literal[False, True, "train"]


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
class LeaderboardConfig:
    """Which experiments are compared."""

    experiments: tuple[str, ...]
