"""Writes COCO files piece by piece: plain JSON that pycocotools loads, and the mapped columns beside it.

The images are kept in memory until the end, the annotations are not. Not here: reading the files again (`columns`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from agar_pipeline.coco.columns import IMAGE_COLUMNS, CocoColumns
from agar_pipeline.coco.mapped_arrays import GrowingArray
from agar_pipeline.coco.mapped_columns import OF_ANNOTATIONS, columns_folder, finish_columns

_AT_ONCE = 50_000
"""Number of images or annotations that exist as Python objects at a time."""


def write_coco(path: Path, columns: CocoColumns) -> None:
    """Write a COCO file in one piece; see `coco_writer`."""
    with coco_writer(path) as write:
        write(columns)


@contextlib.contextmanager
def coco_writer(path: Path) -> Iterator[Callable[[CocoColumns], None]]:
    """Context whose value is a function that takes the images and annotations of one COCO file, piece by piece.

    At least one piece is needed. A number that is not finite is written as null. If the photos were made smaller, each
    image has the keys `original_width` and `original_height`. The file is complete when the block has ended without an
    error.
    """
    folder = columns_folder(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arrays = {name: GrowingArray(folder / f"{name}.npy") for name in OF_ANNOTATIONS}
    pieces: list[CocoColumns] = []
    with tempfile.TemporaryFile(dir=path.parent) as annotations:

        def write(columns: CocoColumns) -> None:
            if not np.isfinite(columns.boxes_xywh).all():  # the same as when null is read
                boxes_xywh = np.where(np.isfinite(columns.boxes_xywh), columns.boxes_xywh, np.nan)
                columns = dataclasses.replace(columns, boxes_xywh=boxes_xywh)
            for name, array in arrays.items():
                array.append(getattr(columns, name))
            _write_items(annotations, len(columns.annotation_ids), lambda rows: _plain_annotations(columns, rows))
            pieces.append(columns.without_annotations())

        yield write
        for array in arrays.values():
            array.finish()
        images = concat_images(pieces)
        _write_json(path, images, annotations)
    finish_columns(folder, path, vars(images))


def concat_images(pieces: list[CocoColumns]) -> CocoColumns:
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in IMAGE_COLUMNS
    }
    return dataclasses.replace(pieces[0], **joined)


def _write_json(path: Path, images: CocoColumns, annotations: IO[bytes]) -> None:
    categories = [
        {"id": i, "name": name} for i, name in zip(images.category_ids.tolist(), images.class_names, strict=True)
    ]
    shrunk = not np.array_equal(images.sizes_wh, images.original_sizes_wh)
    with path.open("wb") as file:
        file.write(b'{"images":[')
        start = file.tell()
        _write_items(file, len(images.image_ids), lambda rows: _plain_images(images, rows, shrunk), start)
        file.write(b'],"annotations":[')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file, 1 << 20)
        file.write(b'],"categories":' + orjson.dumps(categories) + b"}")


def _write_items(file: IO[bytes], count: int, plain: Callable[[slice], list[dict[str, Any]]], start: int = 0) -> None:
    """Write items of a JSON list that begins at `start`, in the form in which orjson writes the whole list."""
    for first in range(0, count, _AT_ONCE):
        if file.tell() > start:
            file.write(b",")
        file.write(orjson.dumps(plain(slice(first, first + _AT_ONCE)))[1:-1])


def _plain_images(columns: CocoColumns, rows: slice, shrunk: bool) -> list[dict[str, Any]]:
    ids, names, sizes = (column[rows].tolist() for column in (columns.image_ids, columns.file_names, columns.sizes_wh))
    plain = [
        {"id": i, "file_name": name, "width": width, "height": height}
        for i, name, (width, height) in zip(ids, names, sizes, strict=True)
    ]
    if shrunk:
        for image, (width, height) in zip(plain, columns.original_sizes_wh[rows].tolist(), strict=True):
            image |= {"original_width": width, "original_height": height}
    return plain


def _plain_annotations(columns: CocoColumns, rows: slice) -> list[dict[str, Any]]:
    boxes_xywh = columns.boxes_xywh[rows]
    return [
        {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for i, image, category, box, area, crowd in zip(
            columns.annotation_ids[rows].tolist(),
            columns.annotation_image_ids[rows].tolist(),
            columns.annotation_category_ids[rows].tolist(),
            boxes_xywh.tolist(),
            (boxes_xywh[:, 2] * boxes_xywh[:, 3]).tolist(),
            columns.iscrowd[rows].tolist(),
            strict=True,
        )
    ]
