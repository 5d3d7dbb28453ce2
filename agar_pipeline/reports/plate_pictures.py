"""Draws an image twice, with annotated and with predicted boxes, each box in the colour of its kind.

Here: drawing for the evaluation page. Not here: choosing images (`shown_plates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agar_pipeline.errors import ImageFileError
from agar_pipeline.reports.metric_words import KIND_WORDS
from agar_pipeline.reports.pictures import (
    BoxLayer,
    Kind,
    draw_boxes,
    draw_circle,
    open_photo,
    picture_strip,
    to_data_uri,
)
from agar_pipeline.reports.shown_plates import ScoredPlate

SIDE_PX, BYTES = 600, 150_000
ROW_HEIGHT_PX = 285
CROWDED, CROWDED_SIDE_PX, CROWDED_BYTES = 80, 1200, 450_000
"""An image with more boxes than this is drawn larger, so that its boxes can be told apart."""
TRUTH_COLOURS: dict[str, Kind] = {"true_positive": "truth", "missed": "wrong"}
PREDICTION_COLOURS: dict[str, Kind] = {"true_positive": "prediction", "background": "wrong"}


def draw_plate(plate: ScoredPlate, images_dir: Path) -> dict[str, Any]:
    """Return what the template needs of one image; if it cannot be read, a note in place of pictures."""
    item: dict[str, Any] = {
        "image_id": plate.image_id,
        "file_name": plate.file_name,
        "true_count": plate.annotated,
        "predicted_count": plate.predicted,
        "error": plate.error,
        "kinds": _in_words(plate),
        "note": "",
    }
    crowded = max(plate.annotated, plate.predicted) > CROWDED
    side_px, most_bytes = (CROWDED_SIDE_PX, CROWDED_BYTES) if crowded else (SIDE_PX, BYTES)
    try:
        photo, scale = open_photo(Path(images_dir) / plate.file_name, side_px)
    except ImageFileError as error:
        return item | {"note": f"No picture: {error.in_one_line}"}
    if plate.circle_px is not None:
        photo = draw_circle(photo, scale, plate.circle_px)
    truth = _layers(plate.annotations_xywh, TRUTH_COLOURS)
    predicted = _layers(plate.detections_xywh, PREDICTION_COLOURS)
    return item | {
        "truth_uri": to_data_uri(draw_boxes(photo, scale, truth), most_bytes),
        "predicted_uri": to_data_uri(draw_boxes(photo, scale, predicted), most_bytes),
    }


def row_of_plates(plates: Sequence[ScoredPlate], images_dir: Path) -> str:
    """Return images side by side as one data URI, with annotated and predicted boxes; empty without images."""
    items = [
        (
            Path(images_dir) / plate.file_name,
            _layers(plate.annotations_xywh, TRUTH_COLOURS) + _layers(plate.detections_xywh, PREDICTION_COLOURS),
        )
        for plate in plates
    ]
    return picture_strip(items, ROW_HEIGHT_PX, BYTES)


def _layers(boxes_by_kind: Any, colours: dict[str, Kind]) -> list[BoxLayer]:
    return [BoxLayer(boxes, colours.get(kind, kind)) for kind, boxes in boxes_by_kind.items() if len(boxes)]


def _in_words(plate: ScoredPlate) -> str:
    """Describe the kinds of matches: `3 missed, 1 duplicate`; each colony and each box is counted once."""
    counts = {kind: len(boxes) for kind, boxes in plate.detections_xywh.items()}
    counts["missed"] = len(plate.annotations_xywh["missed"])
    said = [f"{count} {KIND_WORDS[kind][0]}" for kind, count in counts.items() if count and kind != "ignored"]
    return ", ".join(said) or "nothing annotated, nothing predicted"
