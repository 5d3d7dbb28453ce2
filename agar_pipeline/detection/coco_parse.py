"""COCO's JSON to plain columns; anything that is not what a COCO file must hold is refused with its place.

Here: reading one file of annotations or of results, strictly: nothing is rounded, guessed or taken for something else.
Not here: what the columns mean (`coco`), whether they agree with each other (`box_rules`, `image_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco_ids import WHOLE, IdError, Ids, quote, without_root
from agar_pipeline.config import is_blank
from agar_pipeline.detection.annotation_state import is_unfinished
from agar_pipeline.detection.foreign_formats import name_json
from agar_pipeline.detection.turned_boxes import degrees_of, upright_box
from agar_pipeline.errors import AnnotationError
from agar_pipeline.text_files import TextFileError, read_json

ID_LIMIT = 2**63
FARTHEST_PX = 1e9
"""No photo is as large; squares of what is beyond overflow somewhere."""
_MANY = 80


def parse_columns(path: Path) -> dict[str, Any]:
    """The columns of `coco.CocoColumns`, from the JSON.

    Raises:
        AnnotationError: not JSON, or a list, key or value that a COCO file must have is missing or of another type.
    """
    plain = _load(Path(path))
    try:
        return _columns(plain)
    except _NotCocoError as error:
        raise AnnotationError(f"{path} is not a COCO annotation file: {error}") from error


def parse_results(path: Path) -> dict[str, Any]:
    """The columns of `detections.Detections`, from a list in COCO's results format.

    Raises:
        AnnotationError: not JSON; a key is missing or of another type; a score outside 0 to 1; a box of which a number
            is not finite, or of negative width or height.
    """
    rows = _load(Path(path))
    try:
        if not isinstance(rows, list):
            raise _NotCocoError(f"it holds a {type(rows).__name__}, not a list")
        _require_all(rows, lambda row: type(row) is dict, "results", "not an object")
        return {
            "image_ids": _integers(rows, "results", "image_id"),
            "category_ids": _integers(rows, "results", "category_id"),
            "boxes_xywh": _result_boxes(_column(rows, "results", "bbox")),
            "scores": _scores(_column(rows, "results", "score")),
        }
    except _NotCocoError as error:
        raise AnnotationError(
            f"{path} is not in COCO results format, a list of image_id, category_id, bbox and score: {error}"
        ) from error


def parse_scored(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The columns of `coco.CocoColumns` of a COCO file whose annotations are predictions, and their scores.

    Raises:
        AnnotationError: as `parse_columns`, and as `parse_results` for boxes and scores.
    """
    plain = _load(Path(path))
    try:
        columns = _columns(plain)
        columns["boxes_xywh"] = _result_boxes(_column(plain["annotations"], "annotations", "bbox"))
        return columns, _scores(_column(plain["annotations"], "annotations", "score"))
    except (_NotCocoError, KeyError) as error:
        raise AnnotationError(f"{path} is not a COCO file of predictions: {error}") from error


class _NotCocoError(Exception):
    """What is wrong, and where in the file."""


def _load(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise AnnotationError(f"{path} does not exist: correct the path, or `agar run +coco_cache`") from None
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}): give a COCO annotation file") from error
    except TextFileError as error:
        raise AnnotationError(f"{path} {error}") from error


def _columns(plain: Any) -> dict[str, Any]:
    if (foreign := name_json(plain)) is not None:
        raise _NotCocoError(f"this is {foreign.name}: {foreign.next_step}")
    if not isinstance(plain, dict):
        raise _NotCocoError(f"it holds a {type(plain).__name__}, not an object with images, annotations, categories")
    images, annotations, categories = (_rows(plain, name) for name in ("images", "annotations", "categories"))
    categories = without_root(categories, annotations)
    image_ids, category_ids = _ids(images, "images"), _ids(categories, "categories")
    widths, heights = (_sizes(images, key, _column(images, "images", key)) for key in ("width", "height"))
    originals = [
        _sizes(images, f"original_{key}", [row.get(f"original_{key}", row[key]) for row in images])
        for key in ("width", "height")
    ]
    return {
        "image_ids": _whole(image_ids.numbers_of(_column(images, "images", "id")), "images", "id"),
        "file_names": np.array(_texts(images, "images", "file_name"), dtype=object),
        "sizes_wh": np.stack([widths, heights], axis=1),
        "annotation_ids": _annotation_ids(annotations),
        "annotation_image_ids": _links(image_ids, annotations, "image_id"),
        "annotation_category_ids": _links(category_ids, annotations, "category_id"),
        "boxes_xywh": _upright(_boxes(_column(annotations, "annotations", "bbox"), "annotations"), annotations),
        "iscrowd": _crowds([row.get("iscrowd", 0) for row in annotations]),
        "category_ids": _whole(category_ids.numbers_of(_column(categories, "categories", "id")), "categories", "id"),
        "class_names": tuple(_names(categories)),
        "original_sizes_wh": np.stack(originals, axis=1),
        "labelled": np.array([not is_unfinished(image) for image in images], dtype=bool),
    }


def _rows(plain: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; a file that only lists images may leave out the annotations."""
    if name not in plain and name != "annotations":
        raise _NotCocoError(f"{name} is missing; it has {_short(', '.join(plain)) or 'no keys'}")
    rows = plain.get(name, [])
    if not isinstance(rows, list):
        raise _NotCocoError(f"{name} is {_short(repr(rows))}, not a list")
    _require_all(rows, lambda row: type(row) is dict, name, "not an object")
    return rows


def _column(rows: list[dict[str, Any]], name: str, key: str) -> list[Any]:
    try:
        return [row[key] for row in rows]
    except KeyError:
        place = next(place for place, row in enumerate(rows) if key not in row)
        keys = _short(", ".join(map(str, rows[place]))) or "no keys"
        raise _NotCocoError(f"{name}[{place}].{key} is missing; it has {keys}") from None


def _require_all(values: Iterable[Any], is_right: Callable[[Any], bool], name: str, wrong: str, key: str = "") -> None:
    for place, value in enumerate(values):
        if not is_right(value):
            raise _NotCocoError(f"{name}[{place}]{key and '.' + key} is {_short(repr(value))}, {wrong}")


def _ids(rows: list[dict[str, Any]], name: str) -> Ids:
    """The ids of a list; true and 3.0 are none: others would take them for other ids."""
    values = _column(rows, name, "id")
    try:
        return Ids(values)
    except IdError as error:
        odd = [place for place, value in enumerate(values) if type(value) is not int]
        place = next((place for place in odd if type(values[place]) is not str), odd[0])
        raise _NotCocoError(f"{name}[{place}].id is {error}") from None


def _annotation_ids(annotations: list[dict[str, Any]]) -> np.ndarray:
    ids = _ids(annotations, "annotations")
    return _whole(ids.numbers_of(_column(annotations, "annotations", "id")), "annotations", "id")


def _links(ids: Ids, annotations: list[dict[str, Any]], key: str) -> np.ndarray:
    """(M,) int64: which image or category each annotation names."""
    links = _column(annotations, "annotations", key)
    if wrong := ids.explain_broken(links):
        raise _NotCocoError(f"annotations[{_place_of_other(links, ids)}].{key} is {wrong}")
    if ids.kinds == {str}:
        lost = [place for place, link in enumerate(links) if link not in ids.values]
        if lost:
            raise _NotCocoError(f"annotations[{lost[0]}].{key} is {quote(links[lost[0]])}, which no id in the file is")
    return _whole(ids.numbers_of(links), "annotations", key)


def _place_of_other(links: list[Any], ids: Ids) -> int:
    return next(place for place, link in enumerate(links) if type(link) not in (ids.kinds or {int}))


def _integers(rows: list[dict[str, Any]], name: str, key: str) -> np.ndarray:
    """(N,) int64 of a file of predictions; texts that are whole numbers name what those number."""
    values = _column(rows, name, key)
    if set(map(type, values)) == {str}:
        values = [int(value) if WHOLE.fullmatch(value) else value for value in values]
    if not set(map(type, values)) <= {int}:
        _require_all(values, lambda value: type(value) is int, name, "not a whole number", key)
    return _whole(values, name, key)


def _whole(values: list[int], name: str, key: str) -> np.ndarray:
    if values and not (min(values) >= -ID_LIMIT and max(values) < ID_LIMIT):
        _require_all(values, lambda value: -ID_LIMIT <= value < ID_LIMIT, name, "more than 64 bits hold", key)
    return np.array(values, dtype=np.int64)


def _sizes(images: list[dict[str, Any]], key: str, values: list[Any]) -> np.ndarray:
    """(N,) int64 pixels; 640.0 is a size, 640.5 is none."""
    if not set(map(type, values)) <= {int}:
        _require_all(values, _is_whole, "images", "not a whole number of pixels", key)
    _require_all(values, lambda value: abs(value) < 2**31, "images", "no size of an image", key)
    return np.array(values, dtype=np.float64).astype(np.int64)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _texts(rows: list[dict[str, Any]], name: str, key: str) -> list[str]:
    values = _column(rows, name, key)
    _require_all(values, lambda value: type(value) is str and _is_unicode(value), name, "not text", key)
    return values


def _names(categories: list[dict[str, Any]]) -> list[str]:
    names = _texts(categories, "categories", "name")
    _require_all(names, lambda name: not is_blank(name), "categories", "a name that nobody sees", "name")
    return names


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which no file can be named by
        return False


def _boxes(boxes: list[Any], name: str) -> np.ndarray:
    """(M, 4) float64; null, which stands for a number that is not finite, becomes NaN."""
    if not set(map(type, boxes)) <= {list} or not set(map(len, boxes)) <= {4}:
        right = lambda box: type(box) is list and len(box) == 4  # noqa: E731
        _require_all(boxes, right, name, "not a list of four numbers", "bbox")
    if not set(map(type, chain.from_iterable(boxes))) <= {int, float, type(None)}:
        right = lambda box: {type(value) for value in box} <= {int, float, type(None)}  # noqa: E731
        _require_all(boxes, right, name, "not a list of four numbers", "bbox")
    try:
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)
    except OverflowError:
        raise _NotCocoError(f"{name}[…].bbox has a number of more than 300 digits") from None


def _upright(boxes_xywh: np.ndarray, rows: list[dict[str, Any]]) -> np.ndarray:
    """The same, with the box around each that the file states before a turn."""
    for place, row in enumerate(rows):
        if "attributes" in row and (degrees := degrees_of(row["attributes"])) and not row.get("segmentation"):
            boxes_xywh[place] = upright_box(boxes_xywh[place].tolist(), degrees)
    return boxes_xywh


def _result_boxes(boxes: list[Any]) -> np.ndarray:
    """(D, 4) float64, finite; a width or height of 0 is what rounding leaves of a small one."""
    boxes_xywh = _boxes(boxes, "results")
    right = (np.abs(boxes_xywh) <= FARTHEST_PX).all(axis=1) & (boxes_xywh[:, 2:] >= 0).all(axis=1)
    if not right.all():
        place = int(right.argmin())
        raise _NotCocoError(
            f"results[{place}].bbox is {_short(repr(boxes[place]))}, not four finite numbers with sides from 0 on"
        )
    return boxes_xywh


def _scores(values: list[Any]) -> np.ndarray:
    """(D,) float64 in [0, 1]."""
    right = lambda score: type(score) in (int, float) and 0 <= score <= 1  # noqa: E731
    _require_all(values, right, "results", "not a number from 0 to 1", "score")
    return np.array(values, dtype=np.float64)


def _crowds(values: list[Any]) -> np.ndarray:
    """(M,) bool from 0, 1, true, false or null."""
    if not set(map(type, values)) <= {int, bool, type(None)} or not set(values) <= {0, 1, None}:
        right = lambda value: type(value) in {int, bool, type(None)} and value in {0, 1, None}  # noqa: E731
        _require_all(values, right, "annotations", "neither 0 nor 1", "iscrowd")
    return np.array(values, dtype=object).astype(bool)


def _short(text: str) -> str:
    return text if len(text) <= _MANY else f"{text[:_MANY]}…"
