"""Parses COCO's JSON to plain columns; content that is not valid COCO is rejected with its place in the file.

Here: strict reading of one file of annotations: nothing is rounded, guessed or reinterpreted. Not here: the meaning of
the columns (`columns`), whether they are consistent (`box_rules`, `image_rules`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.annotation_state import is_unfinished
from agar_pipeline.coco.foreign_formats import name_json
from agar_pipeline.coco.rotated_boxes import turn_of, upright_box
from agar_pipeline.coco.values import (
    NotCocoError,
    four_numbers,
    load_json,
    read_column,
    require_all,
    shorten,
    whole_numbers,
)
from agar_pipeline.config import is_blank
from agar_pipeline.errors import AnnotationError
from agar_pipeline.text.ids import IdError, Ids, find_boxes_elsewhere, quote, without_root


def parse_columns(path: Path) -> dict[str, Any]:
    """The columns of `coco.CocoColumns`, from the JSON.

    Raises:
        AnnotationError: it is not JSON, or a required list, key or value is missing or has the wrong type.
    """
    plain = load_json(Path(path))
    try:
        return read_columns(plain)
    except NotCocoError as error:
        raise AnnotationError(**error.in_file(path)) from error


def read_ids(path: Path) -> tuple[Ids, Ids]:
    """The ids of the images and of the categories, as in the file.

    Raises:
        AnnotationError: as for `parse_columns`.
    """
    plain = load_json(Path(path))
    try:
        images, annotations, categories = (_rows(plain, name) for name in ("images", "annotations", "categories"))
        return _ids(images, "images"), _ids(without_root(categories, annotations), "categories")
    except NotCocoError as error:
        raise AnnotationError(**error.in_file(path)) from error


def read_columns(plain: Any) -> dict[str, Any]:
    """Same as `parse_columns`, from the parsed JSON.

    Raises:
        NotCocoError: it is not a COCO annotation file.
    """
    if (foreign := name_json(plain)) is not None:
        raise NotCocoError(f"is not a COCO annotation file, but {foreign.name}", next_step=foreign.next_step)
    if not isinstance(plain, dict):
        raise NotCocoError(
            f"is not a COCO annotation file: it holds a {type(plain).__name__}, not an object",
            next_step="give the file with images, annotations and categories",
        )
    images, annotations, categories = (_rows(plain, name) for name in ("images", "annotations", "categories"))
    if key := find_boxes_elsewhere(plain):
        raise NotCocoError(
            f"has no annotations, and boxes in {shorten(repr(key))}", next_step="call that list annotations"
        )
    categories = without_root(categories, annotations)
    image_ids, category_ids = _ids(images, "images"), _ids(categories, "categories")
    widths, heights = (_sizes(key, read_column(images, "images", key)) for key in ("width", "height"))
    originals = [
        _sizes(f"original_{key}", [row.get(f"original_{key}", row[key]) for row in images])
        for key in ("width", "height")
    ]
    boxes_xywh = four_numbers(read_column(annotations, "annotations", "bbox"), "annotations")
    return {
        "image_ids": _numbers(image_ids, images, "images"),
        "file_names": np.array(_texts(images, "images", "file_name"), dtype=object),
        "sizes_wh": np.stack([widths, heights], axis=1),
        "annotation_ids": _numbers(_ids(annotations, "annotations"), annotations, "annotations"),
        "annotation_image_ids": _links(image_ids, annotations, "image_id"),
        "annotation_category_ids": _links(category_ids, annotations, "category_id"),
        "boxes_xywh": _upright(boxes_xywh, annotations),
        "iscrowd": _crowds([row.get("iscrowd", 0) for row in annotations]),
        "category_ids": _numbers(category_ids, categories, "categories"),
        "class_names": tuple(_names(categories)),
        "original_sizes_wh": np.stack(originals, axis=1),
        "labelled": np.array([not is_unfinished(image) for image in images], dtype=bool),
    }


def _rows(plain: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; only `annotations` may be missing, in a file that only lists images."""
    if name not in plain and name != "annotations":
        raise NotCocoError(
            f"is not a COCO annotation file: it has no {name}, only {shorten(', '.join(plain)) or 'no key at all'}",
            next_step="export it again as COCO",
        )
    rows = plain.get(name, [])
    if not isinstance(rows, list):
        raise NotCocoError(
            f"is {shorten(repr(rows))}, but must be a list", where=name, next_step="export the file again as COCO"
        )
    require_all(rows, lambda row: type(row) is dict, name, "an object")
    return rows


def _ids(rows: list[dict[str, Any]], name: str) -> Ids:
    """The ids of a list; true and 3.0 are rejected, because other programs would read them as other ids."""
    values = read_column(rows, name, "id")
    try:
        return Ids(values)
    except IdError as error:
        odd = [place for place, value in enumerate(values) if type(value) is not int]
        place = next((place for place in odd if type(values[place]) is not str), odd[0])
        raise NotCocoError(error.what, where=f"{name}[{place}].id", next_step=error.next_step) from None


def _numbers(ids: Ids, rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return whole_numbers(ids.numbers_of(read_column(rows, name, "id")), name, "id")


def _links(ids: Ids, annotations: list[dict[str, Any]], key: str) -> np.ndarray:
    """(M,) int64: the image or category of each annotation."""
    links = read_column(annotations, "annotations", key)
    if error := ids.explain_broken(links):
        place = _place_of_other(links, ids)
        raise NotCocoError(error.what, where=f"annotations[{place}].{key}", next_step=error.next_step)
    if ids.kinds == {str}:
        lost = [place for place, link in enumerate(links) if link not in ids.values]
        if lost:
            raise NotCocoError(
                f"is {quote(links[lost[0]])}, and no entry of the file has this id",
                where=f"annotations[{lost[0]}].{key}",
                next_step="export the file again",
            )
    return whole_numbers(ids.numbers_of(links), "annotations", key)


def _place_of_other(links: list[Any], ids: Ids) -> int:
    return next(place for place, link in enumerate(links) if type(link) not in (ids.kinds or {int}))


def _sizes(key: str, values: list[Any]) -> np.ndarray:
    """(N,) int64 pixels; 640.0 is accepted as a size, 640.5 is not."""
    if not set(map(type, values)) <= {int}:
        require_all(values, _is_whole, "images", "a whole number of pixels", key)
    require_all(values, lambda value: abs(value) < 2**31, "images", "less than 2,147,483,648", key)
    return np.array(values, dtype=np.float64).astype(np.int64)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _texts(rows: list[dict[str, Any]], name: str, key: str) -> list[str]:
    values = read_column(rows, name, key)
    require_all(values, lambda value: type(value) is str and _is_unicode(value), name, "text", key)
    return values


def _names(categories: list[dict[str, Any]]) -> list[str]:
    names = _texts(categories, "categories", "name")
    require_all(names, lambda name: not is_blank(name), "categories", "a name that is not blank", "name")
    return names


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which cannot be in a file name
        return False


def _upright(boxes_xywh: np.ndarray, rows: list[dict[str, Any]]) -> np.ndarray:
    """Replace each box for which the file states a rotation by the upright box around the rotated one."""
    for place, row in enumerate(rows):
        if ("attributes" in row or "rotation" in row) and (degrees := turn_of(row)):
            boxes_xywh[place] = upright_box(boxes_xywh[place].tolist(), degrees)
    return boxes_xywh


def _crowds(values: list[Any]) -> np.ndarray:
    """(M,) bool from 0, 1, true, false or null."""
    if not set(map(type, values)) <= {int, bool, type(None)} or not set(values) <= {0, 1, None}:
        right = lambda value: type(value) in {int, bool, type(None)} and value in {0, 1, None}  # noqa: E731
        require_all(values, right, "annotations", "0 or 1", "iscrowd")
    return np.array(values, dtype=object).astype(bool)
