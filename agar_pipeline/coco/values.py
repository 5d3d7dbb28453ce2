"""Checks values of COCO's JSON and turns them into columns, for files of annotations and of results.

Here: strict reading; each error states its place in the file. Not here: which keys a file must have (`parse`,
`results_parse`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.errors import AnnotationError
from agar_pipeline.text.text_files import TextFileError, read_json
from agar_pipeline.text.unplaced_error import UnplacedError

ID_LIMIT = 2**63
_MANY = 80


class NotCocoError(UnplacedError):
    """The content is not valid COCO."""


def load_json(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise AnnotationError(
            "does not exist", where=path, next_step="correct the path, or make the file with `agar run +coco_cache`"
        ) from None
    except OSError as error:
        raise AnnotationError(
            f"cannot be read ({error.strerror})", where=path, next_step="give a COCO file, or correct its permissions"
        ) from error
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path)) from error


def read_column(rows: list[dict[str, Any]], name: str, key: str) -> list[Any]:
    try:
        return [row[key] for row in rows]
    except KeyError:
        place = next(place for place, row in enumerate(rows) if key not in row)
        keys = shorten(", ".join(map(str, rows[place]))) or "no keys"
        raise NotCocoError(
            f"has no {key}; it has {keys}", where=f"{name}[{place}]", next_step=f"add {key}, or export the file again"
        ) from None


def require_all(values: Iterable[Any], is_right: Callable[[Any], bool], name: str, right: str, key: str = "") -> None:
    """Check the values of one key; `right` says in the error what they must be. Raises NotCocoError."""
    for place, value in enumerate(values):
        if not is_right(value):
            raise NotCocoError(
                f"is {shorten(repr(value))}, but must be {right}",
                where=f"{name}[{place}]{key and '.' + key}",
                next_step="correct it, or export the file again",
            )


def whole_numbers(values: list[int], name: str, key: str) -> np.ndarray:
    if values and not (min(values) >= -ID_LIMIT and max(values) < ID_LIMIT):
        require_all(values, lambda value: -ID_LIMIT <= value < ID_LIMIT, name, "a number of at most 64 bits", key)
    return np.array(values, dtype=np.int64)


def four_numbers(boxes: list[Any], name: str) -> np.ndarray:
    """(M, 4) float64; null, which stands for a number that is not finite, becomes NaN."""
    if not set(map(type, boxes)) <= {list} or not set(map(len, boxes)) <= {4}:
        right = lambda box: type(box) is list and len(box) == 4  # noqa: E731
        require_all(boxes, right, name, "a list of four numbers", "bbox")
    if not set(map(type, chain.from_iterable(boxes))) <= {int, float, type(None)}:
        right = lambda box: {type(value) for value in box} <= {int, float, type(None)}  # noqa: E731
        require_all(boxes, right, name, "a list of four numbers", "bbox")
    try:
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)
    except OverflowError:
        raise NotCocoError(
            "has a bbox with a number of more than 300 digits",
            where=f"one of {name}",
            next_step="export the file again",
        ) from None


def shorten(text: str) -> str:
    return text if len(text) <= _MANY else f"{text[:_MANY]}…"
