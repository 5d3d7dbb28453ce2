"""The settings `media` and `max_side`: whether a COCO cache refers to the photos or contains copies of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agar_pipeline.errors import ConfigError, remedy

Media = Literal["reference", "link", "copy", "resize"]
MaxSide = Annotated[int, Field(ge=32, le=8192)]


def check_media(media: Media, max_side: int | None) -> None:
    """Raise ConfigError if `max_side` is missing for `resize` or given for another value of `media`."""
    if media == "resize" and max_side is None:
        raise ConfigError(
            "needs the longest side of the copies, in pixels",
            where=remedy("media", option="--media"),
            value=media,
            next_step=remedy(
                "set `max_side: 1024`, or to the model's data.input_size",
                option="give --max-side 1024, or the model's data.input_size",
            ),
        )
    if media != "resize" and max_side is not None:
        raise ConfigError(
            f"is for media: resize, not for media: {media}",
            where=remedy("max_side", option="--max-side"),
            value=max_side,
            next_step=remedy("remove max_side, or set `media: resize`", option="leave it out, or give --media resize"),
        )
