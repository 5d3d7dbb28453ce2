"""Draws boxes on images, and encodes them small enough to embed in a page.

Here: decoding, scaling, drawing, JPEG data URIs. Not here: choosing which picture to show
(`shown_plates`, `offenders`).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.eight_bits import upright
from agar_pipeline.photos.exif_orientation import displayed_wh
from agar_pipeline.photos.formats import open_image

Kind = Literal[
    "truth", "prediction", "context", "finding", "wrong", "wrong_class", "poor_box", "merged", "duplicate", "ignored"
]
COLOURS: dict[Kind, str] = {
    "truth": "#00b3a4",
    "prediction": "#ff7a00",
    "context": "#00b3a4",
    "finding": "#e11d48",
    "wrong": "#e11d48",
    "wrong_class": "#8b3ffb",
    "poor_box": "#ffd60a",
    "merged": "#2f6bff",
    "duplicate": "#ff4fd8",
    "ignored": "#94a3b8",
}
DASHED: frozenset[Kind] = frozenset({"truth"})
MARGIN_COLOUR = "#e2e8f0"
LARGEST_ENLARGEMENT = 4.0
"""Maximum enlargement: with it, lines stay thin compared with the colonies of a 100-pixel crop."""
SMALLEST_VISIBLE_SIDE_PX = 8
"""Pixels; a finding smaller than this gets a ring, because a box without area would be invisible."""
QUALITIES = (86, 78, 68, 56, 44, 32)


@dataclass(frozen=True)
class BoxLayer:
    """Boxes of one kind; later layers are drawn over earlier ones."""

    boxes_xywh: np.ndarray
    """(N, 4) in pixels of the upright image; boxes that are not finite are left out."""
    kind: Kind


def open_photo(source: Path | np.ndarray, max_side_px: int) -> tuple[Image.Image, float]:
    """Decode an image, rotate it as its EXIF orientation says, and scale its longer side to `max_side_px`.

    It is enlarged by at most `LARGEST_ENLARGEMENT`.

    Returns:
        The RGB image, and its pixels per original pixel.

    Raises:
        ImageFileError: the file is missing or cannot be decoded.
    """
    try:
        with Image.fromarray(source) if isinstance(source, np.ndarray) else open_image(source) as image:
            return _scaled_upright(image, max_side_px)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        name = "the array" if isinstance(source, np.ndarray) else str(source)
        raise ImageFileError(
            f"cannot be shown: {error}",
            where=name,
            next_step="open it in an image viewer, and replace it if it is damaged",
        ) from error


def _scaled_upright(image: Image.Image, max_side_px: int) -> tuple[Image.Image, float]:
    scale = min(max_side_px / max(image.size), LARGEST_ENLARGEMENT)
    width, height = displayed_wh(image)
    image.draft("RGB", (2 * max_side_px, 2 * max_side_px))  # decodes a JPEG at 1/2, 1/4 or 1/8 of its size
    rgb = upright(image).convert("RGB")
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return rgb.resize(size_wh, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS), scale


def draw_boxes(photo: Image.Image, scale: float, layers: Sequence[BoxLayer], margin_share: float = 0.0) -> Image.Image:
    """Draw layers of boxes onto a copy of the image.

    Args:
        scale: Pixels of `photo` per pixel of the boxes.
        margin_share: Width of a grey frame around the image, as a share of its longer side, for boxes that leave it.
    """
    margin_px = round(margin_share * max(photo.size))
    canvas = ImageOps.expand(photo, border=margin_px, fill=MARGIN_COLOUR)
    pen = ImageDraw.Draw(canvas)
    count = sum(len(layer.boxes_xywh) for layer in layers)
    for layer in layers:
        boxes = np.asarray(layer.boxes_xywh, dtype=np.float64).reshape(-1, 4)
        boxes = boxes[np.isfinite(boxes).all(axis=1)] * scale
        limit = 4.0 * max(canvas.size)  # limits the number of dashes for a box that is a million pixels wide
        corners = (
            np.clip(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), -limit, limit) + margin_px
        )
        for box in np.round(corners).astype(int).tolist():
            _draw_box(pen, box, layer.kind, width_px=_line_width_px(layer.kind, count, max(photo.size)))
    return canvas


def draw_circle(photo: Image.Image, scale: float, circle_px: tuple[float, float, float]) -> Image.Image:
    """Draw the circle in which colonies count onto a copy of the image: x, y and radius, pixels of the boxes."""
    canvas = photo.copy()
    x, y, radius = (scale * value for value in circle_px)
    ring = (x - radius, y - radius, x + radius, y + radius)
    width_px = max(1, round(max(photo.size) / 400))
    pen = ImageDraw.Draw(canvas)
    pen.ellipse(ring, outline="#0f172a", width=width_px + 2)  # seen on bright and on dark photos
    pen.ellipse(ring, outline="#7dd3fc", width=width_px)
    return canvas


def _line_width_px(kind: Kind, count: int, side_px: int) -> int:
    if kind == "context" or count > 60 or side_px < 300:
        return 1
    return 2


def _draw_box(pen: ImageDraw.ImageDraw, box_xyxy: list[int], kind: Kind, width_px: int) -> None:
    x1, x2 = sorted(box_xyxy[0::2])
    y1, y2 = sorted(box_xyxy[1::2])
    colour = COLOURS[kind]
    if kind in DASHED:
        _dashed(pen, (x1, y1, x2, y2), colour, width_px)
    else:
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=width_px)
    if kind == "finding" and min(x2 - x1, y2 - y1) < SMALLEST_VISIBLE_SIDE_PX:
        centre_x, centre_y, radius = (x1 + x2) / 2, (y1 + y2) / 2, 14
        pen.ellipse(
            (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius), outline=colour, width=2
        )


def _dashed(pen: ImageDraw.ImageDraw, box_xyxy: tuple[int, int, int, int], colour: str, width_px: int) -> None:
    x1, y1, x2, y2 = box_xyxy
    dash = int(np.clip(min(x2 - x1, y2 - y1) / 5, 2, 7))
    period = dash + max(2, dash // 2 + 1)
    for start in range(x1, x2 + 1, period):
        end = min(start + dash - 1, x2)
        pen.line((start, y1, end, y1), fill=colour, width=width_px)
        pen.line((start, y2, end, y2), fill=colour, width=width_px)
    for start in range(y1, y2 + 1, period):
        end = min(start + dash - 1, y2)
        pen.line((x1, start, x1, end), fill=colour, width=width_px)
        pen.line((x2, start, x2, end), fill=colour, width=width_px)


def to_data_uri(image: Image.Image, max_bytes: int = 200_000) -> str:
    """Return a JPEG data URI of about `max_bytes` characters at most; quality is reduced first, then the size."""
    while True:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, subsampling=0)  # else thin lines lose their colour
            uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
            if len(uri) <= max_bytes:
                return uri
        if max(image.size) < 64:
            return uri
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)), Image.Resampling.LANCZOS)


def picture_with_boxes(
    source: Path | np.ndarray,
    layers: Sequence[BoxLayer],
    max_side_px: int = 640,
    margin_share: float = 0.0,
    max_bytes: int = 200_000,
) -> str:
    """Return an image with boxes as a JPEG data URI.

    Raises:
        ImageFileError: the image cannot be read.
    """
    photo, scale = open_photo(source, max_side_px)
    return to_data_uri(draw_boxes(photo, scale, layers, margin_share), max_bytes)


def picture_of_place(
    photo: Image.Image, place_xyxy: tuple[int, int, int, int], layers: Sequence[BoxLayer], side_px: int = 360
) -> str:
    """Return a part of a photo, enlarged to `side_px`, with boxes in pixels of the photo, as a JPEG data URI."""
    x1, y1, x2, y2 = place_xyxy
    scale = side_px / max(x2 - x1, y2 - y1, 1)
    size_wh = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
    part = photo.crop(place_xyxy).resize(size_wh, Image.Resampling.BICUBIC)
    moved = [BoxLayer(np.asarray(of.boxes_xywh).reshape(-1, 4) - [x1, y1, 0, 0], of.kind) for of in layers]
    return to_data_uri(draw_boxes(part, scale, moved), max_bytes=60_000)


def picture_strip(
    items: Sequence[tuple[Path, Sequence[BoxLayer]]], height_px: int = 220, max_bytes: int = 150_000
) -> str:
    """Return images side by side with their boxes, as one JPEG data URI for a line of Markdown.

    Args:
        items: Path and boxes of each image.
        height_px: Height of the strip.
        max_bytes: Maximum length of the URI.

    Returns:
        The URI; empty without items. An image that cannot be read is shown as a crossed-out tile.
    """
    if not items:
        return ""
    tiles = [_tile(path, layers, height_px) for path, layers in items]
    gap_px = 4
    strip = Image.new("RGB", (sum(tile.width + gap_px for tile in tiles) - gap_px, height_px), "white")
    left = 0
    for tile in tiles:
        strip.paste(tile, (left, 0))
        left += tile.width + gap_px
    return to_data_uri(strip, max_bytes)


def _tile(path: Path, layers: Sequence[BoxLayer], height_px: int) -> Image.Image:
    try:
        photo, scale = open_photo(path, 2 * height_px)
    except ImageFileError:
        empty = Image.new("RGB", (height_px, height_px), MARGIN_COLOUR)
        ImageDraw.Draw(empty).line((0, 0, height_px, height_px), fill="#94a3b8", width=2)
        return empty
    width_px = int(np.clip(round(photo.width * height_px / photo.height), 1, 4 * height_px))
    scale *= height_px / photo.height
    return draw_boxes(photo.resize((width_px, height_px), Image.Resampling.LANCZOS), scale, layers)
