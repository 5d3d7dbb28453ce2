"""The config of a pipeline: dataset, class map, split, box policy and the experiments to orchestrate."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.box_policy import (
    BOX_POLICY_DEFAULTS,
    MAX_FLAWED_SHARE,
    MAX_MISSING_SHARE,
    MIN_BOX_SIDE_PX,
    UNLABELLED_ACTIONS,
    Action,
    BoxRule,
    BoxSide,
    ImageChecks,
    UnlabelledPolicy,
    check_box_policy,
    mending_actions,
)
from agar_pipeline.config.coco_cache import CocoCacheConfig
from agar_pipeline.config.counting import CountingConfig
from agar_pipeline.config.media import MaxSide, Media
from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.config.snapshot import CocoSnapshotConfig, SnapshotConfig, SnapshotSource
from agar_pipeline.config.split import GIVEN_PART, SplitConfig, resolved_split
from agar_pipeline.errors import ConfigError

AutoRefresh = Literal[False, True, "train"]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class BboxReportConfig:
    """Which action follows from each broken rule."""

    box_policy: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """Rule → action, for every rule."""
    min_box_side_px: BoxSide = MIN_BOX_SIDE_PX
    max_missing_share: Share = MAX_MISSING_SHARE
    max_flawed_share: Share = MAX_FLAWED_SHARE


def _default_split(before: dict[str, Any]) -> SplitConfig:
    """The split if the pipeline file has none: `given` for COCO files, else `random`."""
    return SplitConfig(method="given" if isinstance(before.get("snapshot"), CocoSnapshotConfig) else "random")


@dataclass(frozen=True, config=STRICT)
class PipelineConfig:
    """The settings of a pipeline: `configs/pipeline/<name>.yaml`."""

    name: str
    """Filled in: the name of the file."""
    snapshot: SnapshotSource
    """A FiftyOne dataset, or COCO files with `source: coco`."""
    class_map: dict[str, int]
    """Label in FiftyOne → category_id. A label that is not listed exactly means the one class whose spelling differs
    only in case, spaces, dots, underscores and hyphens between letters, unless another label of the data has this
    spelling too. A sign, a decimal point or an exponent is never a difference of spelling. If several labels share an
    id, the first one is the name of the class. For COCO files the class map may be left out: it is then their
    categories, in the order of their ids."""
    split: SplitConfig = Field(default_factory=_default_split)
    """If left out: `given` (the parts that the files are) for COCO files, else `random`."""
    box_policy: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """Rule → action, for rules whose default action does not suit."""
    unlabelled: UnlabelledPolicy = "fail"
    """What is done with images that are not labelled yet: images without a value in the label field, or marked as not
    done in a COCO file. An image with an empty list of boxes is labelled: a person looked at it and found nothing.
    `fail` stops before training and lists the images; `leave_out` leaves them out of all parts, and counts and names
    them; `keep` treats them as empty plates."""
    min_box_side_px: BoxSide = MIN_BOX_SIDE_PX
    """A box whose shorter side is smaller breaks the rule `small_box`; pixels of the photo."""
    images: ImageChecks = "header"
    """How image files are checked. `header` reads their first bytes; `decode` reads every pixel, the only way to find a
    truncated JPEG; `skip` only checks that the files exist."""
    max_missing_share: Share = MAX_MISSING_SHARE
    """If a larger share of the images is missing, the report fails, even with `missing_image: drop_image`. In most
    cases a whole folder is missing."""
    max_flawed_share: Share = MAX_FLAWED_SHARE
    """If a larger share of the boxes of a part breaks one rule (outside the image, too small, without area or drawn
    twice), the part breaks the rule `misread_boxes`. In most cases the file uses another box format than it is read
    with."""
    media: Media = "reference"
    """Where the photos of the COCO cache are. `reference`: at their original place. `link`: hard links in the cache, or
    copies where hard links are not possible (a link changes a photo's ctime, so that its file is hashed once more).
    `copy`: copies in the cache. `resize`: JPEGs with a longer side of at most `max_side` under the photos' names; the
    boxes are scaled with them."""
    max_side: MaxSide | None = None
    """Longer side of the training copies, pixels; for `media: resize` only."""
    counting: CountingConfig = dataclasses.field(default_factory=CountingConfig)
    """What counts as a colony, and how certain a count is. The evaluation and `agar predict` read it."""
    experiments: tuple[str, ...] = ()
    """Experiments that Dagster orchestrates, each in its own asset group."""
    code: Literal["note", "strict"] = "note"
    """How a plan treats an artifact that was made by other code or by another version of a computing library. `note`:
    the plan mentions it; `strict`: the artifact is stale. Switching to `strict` changes the fingerprints of all
    artifacts once."""
    auto_refresh: AutoRefresh = False
    """What the sensor of `agar ui` launches when the dataset has changed: nothing, the data assets (true), or
    everything (`train`)."""

    @model_validator(mode="after")
    @collected
    def _check_policy(self) -> PipelineConfig:
        check_box_policy(self.box_policy)
        if len(set(self.experiments)) != len(self.experiments):
            raise ConfigError(
                "lists an experiment twice",
                where="experiments",
                value=f"[{', '.join(self.experiments)}]",
                next_step="remove one of the two",
            )
        self.coco_cache  # noqa: B018 - checks the class map
        self._check_counted_classes()
        self._check_split()
        return self

    def _check_counted_classes(self) -> None:
        """Raise ConfigError if a class that counts is none of the class map; one that is left out is in the data."""
        names = self.coco_cache.class_names
        unknown = [name for name in self.counting.classes or () if names and name not in names]
        if unknown:
            raise ConfigError(
                "is not the name of a class of class_map",
                where="counting.classes",
                value=unknown[0],
                next_step=f"write one of: {', '.join(names)}",
            )

    def _check_split(self) -> None:
        """Raise ConfigError if the split reads something that the data source does not have."""
        read = [name for name in self.full_snapshot.image_columns if name.startswith(("view:", "field:"))]
        missing = [name for name in read if name != GIVEN_PART]
        if self.snapshot.source == "coco" and missing:
            raise ConfigError(
                f"reads {missing[0]!r}, but COCO files have no views and no fields",
                where="split",
                next_step="set split.method to given, random, hash or lists, and group or stratify by no field",
            )
        if self.snapshot.source == "fiftyone" and self.split.method == "given":
            raise ConfigError(
                "is for COCO files, because a FiftyOne dataset has no parts of its own",
                where="split.method",
                value="given",
                next_step="write another method, or set `snapshot.source: coco`",
            )

    @property
    def full_snapshot(self) -> SnapshotConfig | CocoSnapshotConfig:
        """The snapshot config, with the columns that the split reads."""
        labelled = ("labelled",) if self.unlabelled == "leave_out" else ()
        columns = (*self.snapshot.image_columns, *self.split.image_columns, *labelled)
        return dataclasses.replace(self.snapshot, image_columns=columns)

    @property
    def fiftyone_snapshot(self) -> SnapshotConfig:
        """The snapshot config, for features that only FiftyOne has.

        Raises:
            ConfigError: the data is COCO files.
        """
        if isinstance(self.snapshot, SnapshotConfig):
            return self.snapshot
        raise ConfigError(
            "reads COCO files, not a FiftyOne dataset",
            where=f"pipeline {self.name!r}",
            next_step="set AGAR_PIPELINE to a pipeline that reads a FiftyOne dataset",
        )

    @property
    def database(self) -> str:
        """The FiftyOne database that commands use: the embedded one if the data is COCO files."""
        return self.snapshot.database if isinstance(self.snapshot, SnapshotConfig) else "embedded"

    @property
    def full_split(self) -> SplitConfig:
        """The split config, with hashes of the content that it reads in addition to the snapshot."""
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
