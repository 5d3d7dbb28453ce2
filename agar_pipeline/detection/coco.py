"""COCO files as whole columns.

Here: reading and writing plain COCO annotation files. Not here: judging what is in them (`box_rules`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from agar_pipeline.errors import AnnotationError


@dataclass(frozen=True)
class CocoColumns:
    """A COCO file with N images, M annotations and K categories, each column an array."""

    image_ids: np.ndarray
    """(N,) int64."""
    file_names: np.ndarray
    """(N,) str, relative to the images' folder."""
    sizes_wh: np.ndarray
    """(N, 2) int64, width and height in pixels."""
    annotation_ids: np.ndarray
    """(M,) int64."""
    annotation_image_ids: np.ndarray
    """(M,) int64."""
    annotation_category_ids: np.ndarray
    """(M,) int64."""
    boxes_xywh: np.ndarray
    """(M, 4) float64: top-left x, y, width, height in pixels, as written; null is read as NaN."""
    iscrowd: np.ndarray
    """(M,) bool."""
    category_ids: np.ndarray
    """(K,) int64."""
    class_names: tuple[str, ...]
    """In the order of `category_ids`."""

    def rows_of_images(self) -> tuple[np.ndarray, np.ndarray]:
        """Annotations grouped by image.

        Returns:
            order: (M',) rows of the annotations, image by image, file order kept within one; those of unknown
                images are left out.
            starts: (N + 1,) image i owns `order[starts[i]:starts[i + 1]]`.
        """
        sorter = np.argsort(self.image_ids, kind="stable")
        place = np.searchsorted(self.image_ids, self.annotation_image_ids, sorter=sorter)
        place = np.minimum(place, len(self.image_ids) - 1)
        index = sorter[place] if len(sorter) else np.zeros(0, np.int64)
        known = (self.image_ids[index] == self.annotation_image_ids) if len(sorter) else np.zeros(0, bool)
        rows = np.flatnonzero(known)
        order = rows[np.argsort(index[rows], kind="stable")]
        counts = np.bincount(index[rows], minlength=len(self.image_ids))
        return order, np.concatenate([[0], np.cumsum(counts)])


def read_coco(path: Path) -> CocoColumns:
    """Read a COCO annotation file.

    Raises:
        AnnotationError: not JSON, or a list, key or value that a COCO file must have is missing or of another type.
    """
    try:
        plain = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise AnnotationError(f"{path} does not exist: materialize coco_cache, or give another file") from None
    except orjson.JSONDecodeError:
        try:  # orjson refuses NaN and Infinity, which Python's json and so other exporters write
            plain = json.loads(Path(path).read_text())
        except ValueError as error:
            raise AnnotationError(f"{path} is not JSON: {error}") from error
    try:
        return _columns(plain)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise AnnotationError(f"{path} is not a COCO annotation file: {_what_is_wrong(error)}") from error


def _columns(plain: dict[str, Any]) -> CocoColumns:
    images, annotations, categories = plain["images"], plain.get("annotations", []), plain["categories"]
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    if len(boxes) != len(annotations):
        raise ValueError("a bbox does not have four numbers")
    return CocoColumns(
        image_ids=_integers(i["id"] for i in images),
        file_names=np.array([_text(i["file_name"]) for i in images], dtype=object),
        sizes_wh=np.array([(i["width"], i["height"]) for i in images], dtype=np.int64).reshape(-1, 2),
        annotation_ids=_integers(a["id"] for a in annotations),
        annotation_image_ids=_integers(a["image_id"] for a in annotations),
        annotation_category_ids=_integers(a["category_id"] for a in annotations),
        boxes_xywh=boxes,
        iscrowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=bool),
        category_ids=_integers(c["id"] for c in categories),
        class_names=tuple(_text(c["name"]) for c in categories),
    )


def _integers(values: Iterable[Any]) -> np.ndarray:
    listed = list(values)
    for value in listed:
        if type(value) is not int:
            raise TypeError(f"id {value!r} is not a whole number")
    return np.array(listed, dtype=np.int64)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _what_is_wrong(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def write_coco(path: Path, columns: CocoColumns) -> None:
    """Write plain COCO that pycocotools loads. A number that is not finite is written as null."""
    areas = columns.boxes_xywh[:, 2] * columns.boxes_xywh[:, 3]
    plain = {
        "images": [
            {"id": i, "file_name": name, "width": w, "height": h}
            for i, name, (w, h) in zip(
                columns.image_ids.tolist(), columns.file_names.tolist(), columns.sizes_wh.tolist(), strict=True
            )
        ],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": int(crowd)}
            for i, image, category, box, area, crowd in zip(
                columns.annotation_ids.tolist(),
                columns.annotation_image_ids.tolist(),
                columns.annotation_category_ids.tolist(),
                columns.boxes_xywh.tolist(),
                areas.tolist(),
                columns.iscrowd.tolist(),
                strict=True,
            )
        ],
        "categories": [
            {"id": i, "name": name} for i, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(plain))
