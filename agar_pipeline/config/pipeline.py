"""What a lab runs: the dataset, the class map, the split, the box policy, the experiments to orchestrate."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.box_policy import (
    BOX_POLICY_DEFAULTS,
    Action,
    BoxRule,
    ImageChecks,
    check_box_policy,
    mending_actions,
)
from agar_pipeline.config.class_map import Spellings, refuse_ambiguous_spellings
from agar_pipeline.config.media import MaxSide, Media, check_media
from agar_pipeline.config.plain import STRICT
from agar_pipeline.config.split import SplitConfig, resolved_split

AutoRefresh = Literal[False, True, "train"]
BoxSide = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
ExifPolicy = Literal["displayed", "stored", "refuse"]


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
    exif: ExifPolicy = "displayed"
    """What the boxes of a photo with an EXIF rotation were drawn on: `displayed`, the photo as the FiftyOne App and
    every viewer turn it; `stored`, its pixels as they lie in the file; `refuse`: such a photo is an error."""
    database_notice: bool = True
    """Say it, in one line, when FiftyOne would warn about the database's version."""
    image_columns: tuple[str, ...] = ()
    """What `image_ids.parquet` holds of each image beside its ids: `path`, `sha256`, `labels`, `field:PATH`,
    `view:SPEC` (whether a view holds it). The pipeline fills it with what the split reads, and with nothing else."""

    @field_validator("image_columns")
    @classmethod
    def _check_image_columns(cls, image_columns: tuple[str, ...]) -> tuple[str, ...]:
        for name in image_columns:
            kind, _, value = name.partition(":")
            if name not in ("path", "sha256", "labels") and not (kind in ("field", "view") and value):
                raise ValueError(f"{name!r} is none of path, sha256, labels, field:PATH, view:SPEC")
        return tuple(sorted(set(image_columns)))


@dataclass(frozen=True, config=STRICT)
class CocoCacheConfig:
    """What becomes of the boxes on their way into the COCO files."""

    class_map: dict[str, Annotated[int, Field(ge=1)]]
    """Label in FiftyOne → category_id. Case, spaces, dots, underscores and hyphens do not count; where several labels
    share an id, the first one names the class."""
    mend: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """Rules whose boxes are left out or clipped, or whose images are left out; the report still lists and counts
    them."""
    min_box_side_px: BoxSide = 2.0
    images: ImageChecks = "header"
    media: Media = "reference"
    """`reference`: the photos stay where they are; `link`: hard links to them in the cache, or copies where that is
    not possible (a link changes a photo's ctime, so the next look at the dataset hashes it once more); `copy`;
    `resize`: JPEGs of `max_side` at most under the photos' own names, and the boxes with them."""
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
        refuse_ambiguous_spellings(class_map)
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


@dataclass(frozen=True, config=STRICT)
class PipelineConfig:
    """What a lab runs: `configs/pipeline/<name>.yaml`."""

    name: str
    snapshot: SnapshotConfig
    class_map: dict[str, int]
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    box_policy: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """What a broken rule leads to, where the default of `config.box_policy` does not suit."""
    min_box_side_px: BoxSide = 2.0
    """A box whose shorter side is below this breaks the rule `small_box`; pixels of the photo."""
    images: ImageChecks = "header"
    """How image files are checked: `header` reads their first bytes, `decode` every pixel (which alone finds a
    truncated JPEG), `skip` only looks whether they are there."""
    max_missing_share: Share = 0.01
    """More missing images than this fail, even with `missing_image: drop_image`: mostly a folder is not there."""
    media: Media = "reference"
    """See `CocoCacheConfig.media`: reference, link, copy or resize."""
    max_side: MaxSide | None = None
    """Longer side of the training copies, pixels; for `media: resize` only."""
    experiments: tuple[str, ...] = ()
    """Experiments that Dagster orchestrates, each in a group of its own."""
    auto_refresh: AutoRefresh = False
    """What the sensor of `dagster dev` launches when the dataset changed: nothing, the data assets (true), or
    everything (`train`)."""

    @model_validator(mode="after")
    def _check_policy(self) -> PipelineConfig:
        check_box_policy(self.box_policy)
        if len(set(self.experiments)) != len(self.experiments):
            raise ValueError(f"experiments {list(self.experiments)} names one twice")
        self.coco_cache  # noqa: B018 - checks the class map
        return self

    @property
    def full_snapshot(self) -> SnapshotConfig:
        """The snapshot with the columns that the split reads."""
        columns = (*self.snapshot.image_columns, *self.split.image_columns)
        return dataclasses.replace(self.snapshot, image_columns=columns)

    @property
    def full_split(self) -> SplitConfig:
        """The split with the content of what it reads beside the snapshot."""
        return resolved_split(self.split, self.class_map)

    @property
    def full_box_policy(self) -> dict[BoxRule, Action]:
        return {**BOX_POLICY_DEFAULTS, **self.box_policy}

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
        return BboxReportConfig(self.full_box_policy, self.min_box_side_px, self.max_missing_share)


@dataclass(frozen=True, config=STRICT)
class LeaderboardConfig:
    """Which experiments are compared."""

    experiments: tuple[str, ...]
