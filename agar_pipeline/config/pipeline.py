"""What a lab runs: the dataset, the class map, the split, the box policy, the experiments to orchestrate."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.box_policy import (
    BOX_POLICY_DEFAULTS,
    UNLABELLED_ACTIONS,
    Action,
    BoxRule,
    ImageChecks,
    UnlabelledPolicy,
    check_box_policy,
    mending_actions,
)
from agar_pipeline.config.class_map import Spellings, is_blank
from agar_pipeline.config.media import MaxSide, Media, check_media
from agar_pipeline.config.plain import STRICT
from agar_pipeline.config.snapshot import CocoSnapshotConfig, SnapshotConfig, SnapshotSource
from agar_pipeline.config.split import GIVEN_PART, SplitConfig, resolved_split
from agar_pipeline.errors import ConfigError

AutoRefresh = Literal[False, True, "train"]
BoxSide = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class CocoCacheConfig:
    """What becomes of the boxes on their way into the COCO files."""

    class_map: dict[str, Annotated[int, Field(ge=1)]]
    """See `PipelineConfig.class_map`."""
    mend: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """Rules whose boxes are left out or clipped, or whose images are left out; the report still lists and counts
    them."""
    min_box_side_px: BoxSide = 2.0
    images: ImageChecks = "header"
    media: Media = "reference"
    """See `PipelineConfig.media`."""
    max_side: MaxSide | None = None
    """For `resize`: longer side of the copies, pixels; smaller photos stay as they are."""

    @model_validator(mode="after")
    def _check_media(self) -> CocoCacheConfig:
        check_media(self.media, self.max_side)
        return self

    @field_validator("class_map")
    @classmethod
    def _check_class_map(cls, class_map: dict[str, int]) -> dict[str, int]:
        category_ids = sorted(set(class_map.values()))
        if category_ids != list(range(1, len(category_ids) + 1)):
            raise ValueError(f"category ids {category_ids} must be 1…K without gaps")
        if any(is_blank(name) for name in class_map):
            name = next(name for name in class_map if is_blank(name))
            raise ValueError(f"class_map gives {name!r} the id {class_map[name]}, which names nothing: give it a name")
        return class_map

    @property
    def class_names(self) -> list[str]:
        """Class names in order of category_id, 1…K."""
        return [name for _, name in sorted(self.spellings.class_names.items())]

    @property
    def spellings(self) -> Spellings:
        return Spellings(self.class_map)


@dataclass(frozen=True, config=STRICT)
class BboxReportConfig:
    """What each broken rule means."""

    box_policy: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """Rule → action, for every rule."""
    min_box_side_px: BoxSide = 2.0
    max_missing_share: Share = 0.01
    max_flawed_share: Share = 0.05


def _default_split(before: dict[str, Any]) -> SplitConfig:
    """Of a pipeline file that says nothing of the split, from what it says of the snapshot."""
    return SplitConfig(method="given" if isinstance(before.get("snapshot"), CocoSnapshotConfig) else "random")


@dataclass(frozen=True, config=STRICT)
class PipelineConfig:
    """What a lab runs: `configs/pipeline/<name>.yaml`."""

    name: str
    """Filled in: the name of the file."""
    snapshot: SnapshotSource
    """A FiftyOne dataset, or COCO files where it says `source: coco`."""
    class_map: dict[str, int]
    """Label in FiftyOne → category_id. A label that is not listed as it is means the one class that is spelt like it
    but for case, spaces, dots, underscores and hyphens between letters, if no other label of the data is; a sign, a
    decimal point or an exponent is never mere spelling. Where several labels share an id, the first one names the
    class. COCO files may do without: their categories, in the order of their ids."""
    split: SplitConfig = Field(default_factory=_default_split)
    """Left out: `random`; of COCO files `given`, the parts that they are."""
    box_policy: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """What a broken rule leads to, where the rule's default does not suit."""
    unlabelled: UnlabelledPolicy = "fail"
    """What becomes of images that nobody has labelled yet: no value in the label field, or marked as not done in a COCO
    file. An image with an empty list of boxes is labelled: somebody looked, and nothing was there. `fail` stops before
    training and lists them; `leave_out` leaves them out of all parts, counted and named; `keep` takes them for empty
    plates."""
    min_box_side_px: BoxSide = 2.0
    """A box whose shorter side is below this breaks the rule `small_box`; pixels of the photo."""
    images: ImageChecks = "header"
    """How image files are checked: `header` reads their first bytes, `decode` every pixel (which alone finds a
    truncated JPEG), `skip` only looks whether they are there."""
    max_missing_share: Share = 0.01
    """More missing images than this fail, even with `missing_image: drop_image`: mostly a folder is not there."""
    max_flawed_share: Share = 0.05
    """More boxes of a part than this that break one rule (that leave their pictures, are too small, without area or
    drawn twice) break the rule `misread_boxes`: mostly the file is read in another convention than it was written."""
    media: Media = "reference"
    """Where the photos of the COCO cache are. `reference`: they stay where they are; `link`: hard links to them in the
    cache, or copies where that is not possible (a link changes a photo's ctime, so the next look at the dataset hashes
    it once more); `copy`; `resize`: JPEGs of `max_side` at most under the photos' names, and the boxes with them."""
    max_side: MaxSide | None = None
    """Longer side of the training copies, pixels; for `media: resize` only."""
    experiments: tuple[str, ...] = ()
    """Experiments that Dagster orchestrates, each in a group of its own."""
    code: Literal["note", "strict"] = "note"
    """What a plan makes of an artifact that other code, or another version of a library that computes, made. `note`:
    it says so; `strict`: the artifact is stale. Switching to `strict` names all artifacts anew, once."""
    auto_refresh: AutoRefresh = False
    """What the sensor of `agar ui` launches when the dataset changed: nothing, the data assets (true), or
    everything (`train`)."""

    @model_validator(mode="after")
    def _check_policy(self) -> PipelineConfig:
        check_box_policy(self.box_policy)
        if len(set(self.experiments)) != len(self.experiments):
            raise ValueError(f"experiments {list(self.experiments)} names one twice")
        self.coco_cache  # noqa: B018 - checks the class map
        self._check_split()
        return self

    def _check_split(self) -> None:
        """Raises ValueError where the split reads what the source does not have."""
        read = [name for name in self.full_snapshot.image_columns if name.startswith(("view:", "field:"))]
        missing = [name for name in read if name != GIVEN_PART]
        if self.snapshot.source == "coco" and missing:
            raise ValueError(
                f"the split reads {missing[0]!r}, but COCO files have no views and no fields: "
                "set split.method to given, random, hash or lists"
            )
        if self.snapshot.source == "fiftyone" and self.split.method == "given":
            raise ValueError("split.method given is for COCO files, which are the parts: see snapshot.source")

    @property
    def full_snapshot(self) -> SnapshotConfig | CocoSnapshotConfig:
        """The snapshot with the columns that the split reads."""
        labelled = ("labelled",) if self.unlabelled == "leave_out" else ()
        columns = (*self.snapshot.image_columns, *self.split.image_columns, *labelled)
        return dataclasses.replace(self.snapshot, image_columns=columns)

    @property
    def fiftyone_snapshot(self) -> SnapshotConfig:
        """The snapshot, for what only FiftyOne can do.

        Raises:
            ConfigError: the data is COCO files.
        """
        if isinstance(self.snapshot, SnapshotConfig):
            return self.snapshot
        raise ConfigError(
            f"pipeline {self.name!r} reads COCO files, there is no FiftyOne dataset behind it\n"
            "choose a pipeline that reads one: AGAR_PIPELINE=…"
        )

    @property
    def database(self) -> str:
        """The FiftyOne database that commands mean; our own where the data is COCO files."""
        return self.snapshot.database if isinstance(self.snapshot, SnapshotConfig) else "embedded"

    @property
    def full_split(self) -> SplitConfig:
        """The split with the content of what it reads beside the snapshot."""
        split = dataclasses.replace(self.split, labelled_only=self.unlabelled == "leave_out")
        return resolved_split(split, self.class_map)

    @property
    def full_box_policy(self) -> dict[BoxRule, Action]:
        unlabelled: dict[BoxRule, Action] = {"unlabelled_image": UNLABELLED_ACTIONS[self.unlabelled]}
        return {**BOX_POLICY_DEFAULTS, **self.box_policy, **unlabelled}

    @property
    def coco_cache(self) -> CocoCacheConfig:
        return CocoCacheConfig(
            class_map=self.class_map,
            mend=mending_actions(self.full_box_policy),
            min_box_side_px=self.min_box_side_px,
            images=self.images,
            media=self.media,
            max_side=self.max_side,
        )

    @property
    def bbox_report(self) -> BboxReportConfig:
        return BboxReportConfig(
            self.full_box_policy, self.min_box_side_px, self.max_missing_share, self.max_flawed_share
        )


@dataclass(frozen=True, config=STRICT)
class LeaderboardConfig:
    """Which experiments are compared."""

    experiments: tuple[str, ...]
