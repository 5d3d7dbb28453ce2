"""The content of a COCO annotation file as columns (arrays).

Here: reading plain COCO annotation files. Not here: the JSON itself (`parse`, `writer`), checking the annotations
(`box_rules`), the mapped columns beside a file (`mapped_columns`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.mapped_arrays import TextColumn, from_portable, release_pages, to_portable
from agar_pipeline.coco.mapped_columns import OF_ANNOTATIONS, find_columns, keep_columns
from agar_pipeline.coco.parse import parse_columns
from agar_pipeline.errors import DatasetError
from agar_pipeline.text.plurals import plural

IMAGE_COLUMNS = ("image_ids", "file_names", "sizes_wh", "original_sizes_wh", "labelled")
PIECE = 500_000
"""Number of annotations that are processed at a time."""


@dataclass(frozen=True)
class CocoColumns:
    """A COCO file with N images, M annotations and K categories, each column an array.

    If it was read from a cache, the arrays are memory-mapped and read-only; a pickle then contains their paths and not
    their content.
    """

    image_ids: np.ndarray
    """(N,) int64."""
    file_names: np.ndarray | TextColumn
    """(N,) str, relative to the folder of the images."""
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
    """(N, 2) int64, width and height of the photos before a cache made smaller copies; default: `sizes_wh`."""
    labelled: np.ndarray = None  # type: ignore[assignment]
    """(N,) bool: False for an image that is marked as not finished; default: True for all."""

    def __post_init__(self) -> None:
        if self.original_sizes_wh is None:
            object.__setattr__(self, "original_sizes_wh", self.sizes_wh)
        if self.labelled is None:
            object.__setattr__(self, "labelled", np.ones(len(self.image_ids), bool))

    def __getstate__(self) -> dict[str, Any]:
        return {name: to_portable(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: from_portable(value) for name, value in state.items()})

    def rows_of_images(self) -> tuple[np.ndarray, np.ndarray]:
        """Group the annotations by image.

        Returns:
            order: (M',) rows of the annotations, image by image, in file order within an image; annotations of unknown
                images are left out.
            starts: (N + 1,) the annotations of image i are `order[starts[i]:starts[i + 1]]`.
        """
        index, known = self.image_rows()
        rows = np.flatnonzero(known)
        order = rows[np.argsort(index[rows], kind="stable")]
        counts = np.bincount(index[rows], minlength=len(self.image_ids))
        return order, np.concatenate([[0], np.cumsum(counts)])

    def image_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Row of each annotation's image, (M,), and whether the image exists, (M,) bool; the row is 0 if it does not.

        If several images have the same id, it is the row of the first one.
        """
        wanted, ids = self.annotation_image_ids, self.image_ids
        if not len(ids):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        sorter = np.argsort(ids, kind="stable")
        low, high = int(ids[sorter[0]]), int(ids[sorter[-1]])
        if high - low < 4 * len(ids) + 1024:  # a lookup table is ten times as fast as a search
            table = np.full(high - low + 1, -1, np.int64)
            table[ids[sorter[::-1]] - low] = sorter[::-1]  # reversed: of equal ids the first is kept
            inside = (wanted >= low) & (wanted <= high)
            rows = table[np.where(inside, wanted - low, 0)]
            known = inside & (rows >= 0)
            return np.where(known, rows, 0), known
        place = np.minimum(np.searchsorted(ids, wanted, sorter=sorter), len(sorter) - 1)
        rows = sorter[place]
        known = ids[rows] == wanted
        return np.where(known, rows, 0), known

    def pieces(self) -> Iterator[CocoColumns]:
        """Yield all images with a part of the annotations at a time, so that memory does not grow with M."""
        for first in range(0, max(len(self.annotation_ids), 1), PIECE):
            yield self.take_annotations(slice(first, first + PIECE))
            for name in OF_ANNOTATIONS:
                release_pages(getattr(self, name))

    def boxes_per_image(self) -> np.ndarray:
        """(N,) int64 number of annotations of each image."""
        counts = np.zeros(len(self.image_ids), np.int64)
        for piece in self.pieces():
            rows, known = piece.image_rows()
            counts += np.bincount(rows[known], minlength=len(counts))
        return counts

    def scale_xywh(self) -> np.ndarray:
        """(N, 4) pixels of each image per pixel of its photo, along x, y, width and height; 1 if it was not scaled."""
        return np.tile(self.sizes_wh / np.maximum(self.original_sizes_wh, 1), 2)

    def in_photo_pixels(self) -> CocoColumns:
        """The same columns with sizes and boxes in pixels of the photos, as annotated."""
        if np.array_equal(self.sizes_wh, self.original_sizes_wh):
            return self
        order, starts = self.rows_of_images()
        boxes_xywh = np.array(self.boxes_xywh)
        boxes_xywh[order] /= np.repeat(self.scale_xywh(), np.diff(starts), axis=0)
        boxes_xywh = np.round(boxes_xywh, 9)  # so that a side of 2 px is 2 again and not slightly less
        return dataclasses.replace(self, sizes_wh=self.original_sizes_wh, boxes_xywh=boxes_xywh)

    @property
    def names(self) -> dict[int, str]:
        return dict(zip(self.category_ids.tolist(), self.class_names, strict=True))

    def take_images(self, rows: np.ndarray) -> CocoColumns:
        """The images in these rows, with their annotations and all categories."""
        kept = np.isin(self.annotation_image_ids, self.image_ids[rows])
        return self.take_annotations(kept).take_image_columns(rows)

    def without_crowds(self) -> CocoColumns:
        """Without the crowd annotations, which stand for a region of many objects: they are neither trained on nor
        scored.
        """
        return self.take_annotations(~self.iscrowd) if self.iscrowd.any() else self

    def without_annotations(self) -> CocoColumns:
        """Only the images; the result keeps no reference to the annotations, as a slice would."""
        return self.take_annotations(np.zeros(0, np.int64))

    def take_image_columns(self, rows: np.ndarray) -> CocoColumns:
        """The images in these rows, with all annotations, also those of images that are left out."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in IMAGE_COLUMNS})

    def require_images(self, path: Path) -> None:
        """Check that the file at `path` lists at least one image.

        Raises:
            DatasetError: it lists none.
        """
        if not len(self.image_ids):
            raise DatasetError(
                f"lists 0 images ({plural(len(self.annotation_ids), 'annotation')}, "
                f"{plural(len(self.category_ids), 'category', 'categories')})",
                where=path,
                next_step="check the view or tag that it was made from, and export it again",
            )

    def take_annotations(self, rows: np.ndarray | slice) -> CocoColumns:
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
        AnnotationError: it is not JSON, or a required list, key or value is missing or has the wrong type.
    """
    mapped, sha256 = find_columns(path)
    if mapped is not None:
        return CocoColumns(**mapped)
    parsed = parse_coco(path)
    kept = keep_columns(path, sha256, vars(parsed)) if sha256 else None
    return parsed if kept is None else CocoColumns(**kept)


def parse_coco(path: Path) -> CocoColumns:
    """Same as `read_coco`, but always from the JSON itself."""
    return CocoColumns(**parse_columns(path))
