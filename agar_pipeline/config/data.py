"""The config group `data`: how images and boxes are prepared for the model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain_values import STRICT, Share, collected
from agar_pipeline.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class TilesConfig:
    """Crops (tiles) of the photo at `data.scale`, for colonies that vanish if the whole photo is shrunk to one input.

    For prediction, a plate of up to 2,048 px at that scale is processed in one pass, a larger one in overlapping tiles.
    """

    size: Annotated[int, Field(ge=64, le=8192)]
    """Side of a tile, pixels at `data.scale`."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Smallest overlap of neighbouring tiles in prediction, pixels at `data.scale`. With an overlap a third larger than
    the largest colony, merging at the seams is exact. null: this value, computed from the training data, at most half a
    tile."""
    empty: Share = 0.2
    """Share of the training crops that are taken anywhere on the plate and may contain no colony. Each of the other
    crops contains at least one colony."""

    @model_validator(mode="after")
    @collected
    def _check_overlap(self) -> TilesConfig:
        if self.overlap is not None and self.overlap > self.size // 2:
            raise ConfigError(
                f"is more than half of the tiles' size {self.size}",
                where="overlap",
                value=self.overlap,
                next_step=f"write {self.size // 2} or less, or null",
            )
        return self


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """How images and boxes are prepared for the model."""

    not_fingerprinted: ClassVar = {"num_workers", "prefetch", "pin_memory", "frozen"}

    input_size: Annotated[int, Field(ge=32, le=8192)] | Literal["auto"] = 512
    """Longer side of a whole image as the model sees it, pixels. Smaller images are enlarged. auto: computed from the
    training data, so that colonies have the size at which they are learnt best. Not used with `tiles`."""
    scale: Annotated[int, Field(ge=32, le=8192)] | Literal["auto"] | None = None
    """Longer side to which photos are scaled before tiles are cut from them, pixels. null: photos keep their size;
    auto: as for `input_size`. Used with `tiles` only."""
    tiles: TilesConfig | Literal["auto"] | None = None
    """null: the model sees whole plates at `input_size`. auto: whole plates if `input_size` is given or the scaled
    photo is small, else tiles of the photo."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 4
    """Global batch size; each rank gets this number divided by the world size. auto: from the size of the model's
    input."""
    num_workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes per rank; null: chosen from the machine."""
    prefetch: Annotated[int, Field(ge=1, le=64)] | None = None
    """Batches that each loader process prepares in advance; null: chosen from the machine."""
    pin_memory: bool | None = None
    """Whether batches are put into page-locked memory for transfer to a GPU; null: yes if there is a GPU."""
    flip: bool = True
    """Random horizontal and vertical flips."""
    quarter_turns: bool = True
    """Random rotation by 0, 90, 180 or 270°. Together with `flip` this gives all eight orientations of a plate."""
    scale_jitter: Share = 0.0
    """Largest random change of scale, as a share. If the enlarged image exceeds the input size, it is cropped at
    random."""
    copy_paste: Annotated[int, Field(ge=0, le=100)] = 0
    """Maximum number of colonies copied from another training photo into an image, at places without annotations."""
    brightness: Share = 0.2
    """Largest random change of brightness, as a share."""
    contrast: Share = 0.0
    """Largest random change of contrast, as a share."""
    saturation: Share = 0.0
    """Largest random change of saturation, as a share."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest random shift of the hue, as a share of the colour circle. It takes at least ten times as long as
    each other colour change."""
    frozen: bool = False
    """Set by `agar tune-data` together with the values that `auto` chose. `agar plan` then says what `auto` would
    choose now."""

    @property
    def image_side(self) -> int | None:
        """Longer side to which photos are scaled, pixels; None if they keep their size.

        Only after `auto` is replaced.
        """
        side = self.scale if self.tiles else self.input_size
        assert side != "auto", "fit_config comes first"
        return side

    @property
    def model_side(self) -> int:
        """Longer side of the model's training input, pixels. Only after `auto` is replaced."""
        assert self.tiles != "auto", "fit_config comes first"
        side = self.tiles.size if self.tiles else self.input_size
        assert side != "auto", "fit_config comes first"
        return side

    @property
    def batch(self) -> int:
        """`batch_size` as a number. Only after `auto` is replaced."""
        assert self.batch_size != "auto", "fit_config comes first"
        return self.batch_size

    @property
    def windows(self) -> TilesConfig | None:
        """`tiles` as a TilesConfig or None. Only after `auto` is replaced."""
        assert self.tiles != "auto", "fit_config comes first"
        return self.tiles
