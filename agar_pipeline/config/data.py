"""How images and boxes reach the model: the group `data`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain import STRICT, Share


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
