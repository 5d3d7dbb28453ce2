"""COCO files as whole columns.

Here: opening and writing plain COCO annotation files. Not here: the JSON itself (`coco_parse`), judging what is in them
(`box_rules`), the mapped columns beside a file (`mapped_coco`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from agar_pipeline.detection.coco_parse import parse_columns
from agar_pipeline.detection.mapped import TextColumn, from_portable, to_portable
from agar_pipeline.detection.mapped_coco import columns_folder, find_columns, keep_columns, write_columns
from agar_pipeline.errors import DatasetError

IMAGE_COLUMNS = ("image_ids", "file_names", "sizes_wh", "original_sizes_wh")


@dataclass(frozen=True)
class CocoColumns:
    """A COCO file with N images, M annotations and K categories, each column an array.

    Read from a cache, the arrays are mapped and read-only; a pickle then holds their paths, not their content.
    """

    image_ids: np.ndarray
    """(N,) int64."""
    file_names: np.ndarray | TextColumn
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
    original_sizes_wh: np.ndarray = None  # type: ignore[assignment]
    """(N, 2) int64, width and height of the photos before a cache made smaller copies; left out: `sizes_wh`."""

    def __post_init__(self) -> None:
        if self.original_sizes_wh is None:
            object.__setattr__(self, "original_sizes_wh", self.sizes_wh)

    def __getstate__(self) -> dict[str, Any]:
        return {name: to_portable(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: from_portable(value) for name, value in state.items()})

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

    def scale_xywh(self) -> np.ndarray:
        """(N, 4) pixels of each image per pixel of its photo, along x, y, width and height; 1 where nothing shrank."""
        return np.tile(self.sizes_wh / np.maximum(self.original_sizes_wh, 1), 2)

    def in_photo_pixels(self) -> CocoColumns:
        """Sizes and boxes in the pixels of the photos, as they were annotated."""
        if np.array_equal(self.sizes_wh, self.original_sizes_wh):
            return self
        order, starts = self.rows_of_images()
        boxes_xywh = np.array(self.boxes_xywh)
        boxes_xywh[order] /= np.repeat(self.scale_xywh(), np.diff(starts), axis=0)
        boxes_xywh = np.round(boxes_xywh, 9)  # a side of 2 px is 2 again, and not below it
        return dataclasses.replace(self, sizes_wh=self.original_sizes_wh, boxes_xywh=boxes_xywh)

    def take_images(self, rows: np.ndarray) -> CocoColumns:
        """The images in these rows, with their annotations and all categories."""
        kept = np.isin(self.annotation_image_ids, self.image_ids[rows])
        return self.take_annotations(kept).take_image_columns(rows)

    def take_image_columns(self, rows: np.ndarray) -> CocoColumns:
        """The images in these rows, with all annotations: those of other images are left without one."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in IMAGE_COLUMNS})

    def require_images(self, path: Path) -> None:
        """Raises DatasetError where the file, which lies at `path`, lists no image."""
        if not len(self.image_ids):
            raise DatasetError(
                f"{path} lists 0 images ({len(self.annotation_ids)} annotations, {len(self.category_ids)} categories): "
                "export it again, and look at the view or tag that it was made from"
            )

    def take_annotations(self, rows: np.ndarray) -> CocoColumns:
        """The annotations in these rows, with all images and categories."""
        return dataclasses.replace(
            self,
            annotation_ids=self.annotation_ids[rows],
            annotation_image_ids=self.annotation_image_ids[rows],
            annotation_category_ids=self.annotation_category_ids[rows],
            boxes_xywh=self.boxes_xywh[rows],
            iscrowd=self.iscrowd[rows],
        )


def read_coco(path: Path) -> CocoColumns:
    """Read a COCO annotation file, or open the columns that were made from it.

    Raises:
        AnnotationError: not JSON, or a list, key or value that a COCO file must have is missing or of another type.
    """
    mapped, sha256 = find_columns(path)
    if mapped is not None:
        return CocoColumns(**mapped)
    parsed = parse_coco(path)
    kept = keep_columns(path, sha256, vars(parsed)) if sha256 else None
    return parsed if kept is None else CocoColumns(**kept)


def parse_coco(path: Path) -> CocoColumns:
    """`read_coco` from the JSON itself."""
    return CocoColumns(**parse_columns(path))


def write_coco(path: Path, columns: CocoColumns) -> None:
    """Write plain COCO that pycocotools loads, and its mapped columns beside it.

    A number that is not finite is written as null. Where the photos were made smaller, each image has the keys
    `original_width` and `original_height`.
    """
    boxes_xywh = np.where(np.isfinite(columns.boxes_xywh), columns.boxes_xywh, np.nan)  # as null is read again
    columns = dataclasses.replace(columns, boxes_xywh=boxes_xywh)
    plain = {
        "images": _plain_images(columns),
        "annotations": _plain_annotations(columns),
        "categories": [
            {"id": i, "name": name} for i, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(plain))
    write_columns(columns_folder(path), path, vars(columns))


def _plain_images(columns: CocoColumns) -> list[dict[str, Any]]:
    rows = zip(columns.image_ids.tolist(), columns.file_names.tolist(), columns.sizes_wh.tolist(), strict=True)
    plain = [{"id": i, "file_name": name, "width": width, "height": height} for i, name, (width, height) in rows]
    if not np.array_equal(columns.sizes_wh, columns.original_sizes_wh):
        for image, (width, height) in zip(plain, columns.original_sizes_wh.tolist(), strict=True):
            image |= {"original_width": width, "original_height": height}
    return plain


def _plain_annotations(columns: CocoColumns) -> list[dict[str, Any]]:
    return [
        {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for i, image, category, box, area, crowd in zip(
            columns.annotation_ids.tolist(),
            columns.annotation_image_ids.tolist(),
            columns.annotation_category_ids.tolist(),
            columns.boxes_xywh.tolist(),
            (columns.boxes_xywh[:, 2] * columns.boxes_xywh[:, 3]).tolist(),
            columns.iscrowd.tolist(),
            strict=True,
        )
    ]
