"""The settings `media` and `max_side`: whether a COCO cache refers to the photos or contains copies of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agar_pipeline.errors import remedy

Media = Literal["reference", "link", "copy", "resize"]
MaxSide = Annotated[int, Field(ge=32, le=8192)]


def check_media(media: Media, max_side: int | None) -> None:
    """Raise ValueError if `max_side` is missing for `resize` or given for another value of `media`."""
    if media == "resize" and max_side is None:
        raise ValueError(
            remedy("media: resize needs max_side", option="--media resize needs --max-side")
            + ", the longest side in pixels; data.input_size is a good one"
        )
    if media != "resize" and max_side is not None:
        raise ValueError(f"max_side {max_side} is for media: resize, not for media: {media}")
