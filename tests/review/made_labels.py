"""Annotations and detections as a good model would make them, without a model; and errors in them."""

from __future__ import annotations

import dataclasses

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections

SIDE_PX, GRID, COLONY_PX = 400, 8, 30


def make_labels(images: int = 30, classes: int = 3, seed: int = 0) -> tuple[CocoColumns, Detections]:
    """Plates with a colony in most cells of a grid; 19 of 20 are detected some pixels off, with noise besides."""
    rng = np.random.default_rng(seed)
    cells = np.argwhere(rng.random((images, GRID, GRID)) < 0.4)
    total = len(cells)
    boxes = np.concatenate([cells[:, 1:] * 45 + rng.uniform(0, 12, (total, 2)), np.full((total, 2), COLONY_PX)], axis=1)
    image_ids, categories = cells[:, 0] + 1, rng.integers(1, classes + 1, total)
    columns = CocoColumns(
        image_ids=np.arange(1, images + 1),
        file_names=np.array([f"{i}.jpg" for i in range(1, images + 1)], dtype=object),
        sizes_wh=np.full((images, 2), SIDE_PX),
        annotation_ids=np.arange(100, 100 + total),
        annotation_image_ids=image_ids,
        annotation_category_ids=categories,
        boxes_xywh=boxes,
        iscrowd=np.zeros(total, bool),
        category_ids=np.arange(1, classes + 1),
        class_names=tuple("abc"[:classes]),
    )
    found = np.flatnonzero(rng.random(total) < 0.95)
    noise = 3 * images
    detections = Detections(
        np.concatenate([image_ids[found], rng.integers(1, images + 1, noise)]),
        np.concatenate([categories[found], rng.integers(1, classes + 1, noise)]),
        np.concatenate(
            [
                boxes[found] + rng.normal(0, 1.2, (len(found), 4)),
                np.concatenate([rng.uniform(0, 360, (noise, 2)), np.full((noise, 2), COLONY_PX)], axis=1),
            ]
        ),
        np.concatenate([rng.beta(8, 2, len(found)), rng.beta(1.5, 8, noise)]),
    )
    return columns, detections


def without(columns: CocoColumns, rows: list[int]) -> CocoColumns:
    return columns.take_annotations(~np.isin(np.arange(len(columns.annotation_ids)), rows))


def with_box(columns: CocoColumns, row: int, box_xywh: list[float]) -> CocoColumns:
    boxes = np.array(columns.boxes_xywh)
    boxes[row] = box_xywh
    return dataclasses.replace(columns, boxes_xywh=boxes)


def with_class(columns: CocoColumns, row: int, category_id: int) -> CocoColumns:
    categories = np.array(columns.annotation_category_ids)
    categories[row] = category_id
    return dataclasses.replace(columns, annotation_category_ids=categories)


def with_another(columns: CocoColumns, image_id: int, category_id: int, box_xywh: list[float]) -> CocoColumns:
    """One annotation more, with the id 9000."""
    return dataclasses.replace(
        columns,
        annotation_ids=np.append(columns.annotation_ids, 9000),
        annotation_image_ids=np.append(columns.annotation_image_ids, image_id),
        annotation_category_ids=np.append(columns.annotation_category_ids, category_id),
        boxes_xywh=np.concatenate([columns.boxes_xywh, [box_xywh]]),
        iscrowd=np.append(columns.iscrowd, False),
    )
