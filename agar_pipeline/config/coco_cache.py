"""How the COCO cache is written: the part of a pipeline's config that the step coco_cache reads."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.box_policy import MIN_BOX_SIDE_PX, Action, BoxRule, BoxSide, ImageChecks
from agar_pipeline.config.class_map import Spellings, is_blank
from agar_pipeline.config.media import MaxSide, Media, check_media
from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class CocoCacheConfig:
    """How boxes and photos are written into the COCO cache."""

    class_map: dict[str, Annotated[int, Field(ge=1)]]
    """See `PipelineConfig.class_map`."""
    mend: dict[BoxRule, Action] = dataclasses.field(default_factory=dict)
    """Rule → action, for rules whose boxes are dropped or clipped or whose images are dropped. The report still lists
    and counts these findings."""
    min_box_side_px: BoxSide = MIN_BOX_SIDE_PX
    images: ImageChecks = "header"
    media: Media = "reference"
    """See `PipelineConfig.media`."""
    max_side: MaxSide | None = None
    """For `resize`: longer side of the copies, pixels. Smaller photos are not changed."""

    @model_validator(mode="after")
    @collected
    def _check_media(self) -> CocoCacheConfig:
        check_media(self.media, self.max_side)
        return self

    @field_validator("class_map")
    @classmethod
    @collected
    def _check_class_map(cls, class_map: dict[str, int]) -> dict[str, int]:
        category_ids = sorted(set(class_map.values()))
        if category_ids != list(range(1, len(category_ids) + 1)):
            raise ConfigError(
                f"must give the classes the ids 1…K without gaps, not {', '.join(map(str, category_ids))}",
                where="class_map",
                next_step="number the classes 1, 2, 3, …",
            )
        if any(is_blank(name) for name in class_map):
            name = next(name for name in class_map if is_blank(name))
            raise ConfigError(
                f"gives the id {class_map[name]} to the empty or invisible name {name!r}",
                where="class_map",
                next_step="write a name there",
            )
        return class_map

    @property
    def class_names(self) -> list[str]:
        """Class names in order of category_id, 1…K."""
        return [name for _, name in sorted(self.spellings.class_names.items())]

    @property
    def spellings(self) -> Spellings:
        return Spellings(self.class_map)
