"""Parses COCO's results format, a list of scored boxes, to plain columns.

Here: strict reading of one file. Not here: the meaning of the columns (`detections`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.parse import read_columns, read_ids
from agar_pipeline.coco.values import (
    NotCocoError,
    four_numbers,
    load_json,
    read_column,
    require_all,
    shorten,
    whole_numbers,
)
from agar_pipeline.errors import AnnotationError
from agar_pipeline.text.ids import WHOLE, Ids

FARTHEST_PX = 1e9
"""Maximum coordinate: no photo is so large, and squares of larger numbers could overflow."""


def parse_results(path: Path, coco_json: Path | None = None) -> dict[str, Any]:
    """The columns of `detections.Detections`, from a list in COCO's results format.

    `coco_json` is the file of annotations; ids that are texts are replaced by the numbers they have there.

    Raises:
        AnnotationError: it is not JSON; a key is missing or has the wrong type; a score is outside 0 to 1; a box has a
            number that is not finite, or a negative width or height.
    """
    rows = load_json(Path(path))
    try:
        if not isinstance(rows, list):
            raise NotCocoError(
                f"is not in COCO results format: it holds a {type(rows).__name__}, not a list",
                next_step="give a list of objects with image_id, category_id, bbox and score",
            )
        require_all(rows, lambda row: type(row) is dict, "results", "an object")
        images, categories = _ids_of(rows, coco_json)
        return {
            "image_ids": _integers(rows, "image_id", images),
            "category_ids": _integers(rows, "category_id", categories),
            "boxes_xywh": _result_boxes(read_column(rows, "results", "bbox"), "results"),
            "scores": _scores(read_column(rows, "results", "score"), "results"),
        }
    except NotCocoError as error:
        raise AnnotationError(**error.in_file(path)) from error


def parse_scored(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The columns of `coco.CocoColumns` for a COCO file whose annotations are predictions, and their scores.

    Raises:
        AnnotationError: as for `parse_columns`, and as for `parse_results` for boxes and scores.
    """
    plain = load_json(Path(path))
    try:
        columns = read_columns(plain)
        if "annotations" not in plain:
            raise NotCocoError(
                "is not a COCO file of predictions: it has no annotations",
                next_step="give a file that `agar predict --json` prints",
            )
        annotations = plain["annotations"]
        columns["boxes_xywh"] = _result_boxes(read_column(annotations, "annotations", "bbox"), "annotations")
        return columns, _scores(read_column(annotations, "annotations", "score"), "annotations")
    except NotCocoError as error:
        raise AnnotationError(**error.in_file(path)) from error


def _ids_of(rows: list[dict[str, Any]], coco_json: Path | None) -> tuple[Ids, Ids]:
    """Ids of images and categories; the file is read only if the predictions have ids that are texts."""
    texts = {type(row.get(key)) for row in rows for key in ("image_id", "category_id")} & {str}
    return read_ids(coco_json) if texts and coco_json is not None else (Ids([]), Ids([]))


def _integers(rows: list[dict[str, Any]], key: str, ids: Ids) -> np.ndarray:
    """(N,) int64; a text is replaced by its number in the annotations, or by the number that it spells."""
    values = read_column(rows, "results", key)
    if set(map(type, values)) == {str}:
        if ids.kinds == {str}:
            require_all(values, ids.values.__contains__, "results", "an id of the annotation file", key)
            values = ids.numbers_of(values)
        else:
            values = [int(value) if WHOLE.fullmatch(value) else value for value in values]
    if not set(map(type, values)) <= {int}:
        require_all(values, lambda value: type(value) is int, "results", "a whole number", key)
    return whole_numbers(values, "results", key)


def _result_boxes(boxes: list[Any], name: str) -> np.ndarray:
    """(D, 4) float64, finite; a width or height of 0 is allowed, since rounding makes it from a small one."""
    boxes_xywh = four_numbers(boxes, name)
    right = (np.abs(boxes_xywh) <= FARTHEST_PX).all(axis=1) & (boxes_xywh[:, 2:] >= 0).all(axis=1)
    if not right.all():
        place = int(right.argmin())
        raise NotCocoError(
            f"is {shorten(repr(boxes[place]))}, but must be four finite numbers, without a negative side",
            where=f"{name}[{place}].bbox",
            next_step="write x, y, width and height in pixels",
        )
    return boxes_xywh


def _scores(values: list[Any], name: str) -> np.ndarray:
    """(D,) float64 in [0, 1]."""
    right = lambda score: type(score) in (int, float) and 0 <= score <= 1  # noqa: E731
    require_all(values, right, name, "a number from 0 to 1", "score")
    return np.array(values, dtype=np.float64)
