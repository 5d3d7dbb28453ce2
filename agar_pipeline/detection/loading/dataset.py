"""Turns COCO columns and photos into images and targets for a torchvision detector.

Not here: reading pixels (`load_and_resize`), caching decoded photos (`photo_memory`), random changes (`augmentation`),
where tiles lie (`tiles`), batches (`data_loader`), checking boxes (`bbox_report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from agar_pipeline.coco.box_formats import xywh_to_model_xyxy
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import DataConfig
from agar_pipeline.detection.loading.augmentation import augment_image, crop_boxes, paste_colonies
from agar_pipeline.detection.loading.photo_memory import PhotoMemory
from agar_pipeline.detection.models.tiles import choose_crop, count_crops, scaled_sizes
from agar_pipeline.errors import AnnotationError
from agar_pipeline.photos.image_paths import safe_image_path
from agar_pipeline.photos.load_and_resize import load_image, resize

Target = dict[str, Any]
Batch = tuple[list[torch.Tensor], list[Target]]


def check_boxes(columns: CocoColumns) -> None:
    """Reject boxes that would crash torchvision without a message: an infinite box ends Faster R-CNN with SIGSEGV.

    Raises:
        AnnotationError: a box is not finite, or an annotation has a category that is not listed.
    """
    broken = np.flatnonzero(~np.isfinite(columns.boxes_xywh).all(axis=1))
    if len(broken):
        raise AnnotationError(
            f"has the box {columns.boxes_xywh[broken[0]].tolist()}, one of {len(broken)} that are not finite",
            where=f"annotation {columns.annotation_ids[broken[0]]}",
            next_step="correct the labels, or set `non_finite_box: drop_box` in box_policy",
        )
    unknown = np.flatnonzero(~np.isin(columns.annotation_category_ids, columns.category_ids))
    if len(unknown):
        raise AnnotationError(
            f"has category_id {columns.annotation_category_ids[unknown[0]]}, but the file lists the categories "
            f"{columns.category_ids.tolist()}",
            where=f"annotation {columns.annotation_ids[unknown[0]]}",
            next_step="export the file again with all categories",
        )


class DetectionDataset(Dataset):
    """Item i is a (3, H, W) uint8 image whose longer side is `input_size`, and its target.

    The target holds `boxes` (N, 4) float32 xyxy in pixels of that image and clipped to it, `labels` (N,) int64 in 1…K
    by sorted category_id, `image_id`, and `size_wh`, the photo's own size. N may be 0. Annotations with `iscrowd` are
    left out.

    With `augment`, an item depends only on (seed, epoch, i), not on the process that loads it. With `augment.tiles` it
    is a crop of the photo at `image_side`, and a photo has as many items as tiles would cover it.
    """

    def __init__(
        self,
        columns: CocoColumns,
        images_dir: Path,
        input_size: int | None,
        augment: DataConfig | None = None,
        seed: int = 0,
    ) -> None:
        """If `input_size` is None, photos keep their size."""
        check_boxes(columns)
        self.columns, self.images_dir, self.input_size = columns, Path(images_dir), input_size
        self.augment, self.seed = augment, seed
        self.epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        """In shared memory, because persistent loader processes must see the new epoch number."""
        self._order, self._starts = columns.rows_of_images()
        self._labels = np.searchsorted(np.sort(columns.category_ids), columns.annotation_category_ids) + 1
        self._rows = np.arange(len(columns.image_ids))
        self._memory: PhotoMemory | None = None
        if augment is not None and augment.windows is not None:
            self._rows = np.repeat(self._rows, count_crops(columns.sizes_wh, augment.windows.size, input_size))
        if augment is not None and (augment.windows is not None or not augment.scale_jitter):
            self._memory = PhotoMemory(scaled_sizes(columns.sizes_wh, input_size))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keeps_photos(self) -> bool:
        """Whether each photo is decoded only once, because all of them fit into the memory."""
        return self._memory is not None and self._memory.keeps_all

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Target]:
        row = int(self._rows[index])
        if self.augment is None:
            pixels, boxes, labels = self._load(row, self.input_size)
            # a view, not a copy: the model's normalization accepts any memory layout, and a copy of 1024 px takes 1 ms
            return self._item(row, torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(boxes), labels)
        rng = np.random.default_rng((self.seed, int(self.epoch), index))
        shown = self._crop(row, rng) if self.augment.windows else self._scaled(row, rng)
        if self.augment.copy_paste:
            source = self._load(int(rng.integers(len(self.columns.image_ids))), self.input_size)
            shown = paste_colonies(shown, source, self.augment.copy_paste, rng)
        pixels, boxes, labels = shown
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        image, turned = augment_image(image, torch.from_numpy(boxes), self.augment, rng)
        return self._item(row, image, turned, labels)

    def _load(self, row: int, side: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H, W, 3) pixels, (N, 4) float32 boxes_xyxy on them without degenerate boxes, and (N,) labels."""
        columns = self.columns
        size_wh = self._size_wh(row)
        pixels = None if self._memory is None else self._memory.recall(row)
        if pixels is None:
            path = safe_image_path(self.images_dir, columns.file_names[row])
            pixels, _ = load_image(path, side, size_wh)
            if self._memory is not None:
                self._memory.keep(row, pixels)
        rows = self._order[self._starts[row] : self._starts[row + 1]]
        rows = rows[~columns.iscrowd[rows]]
        boxes = scale_boxes(columns.boxes_xywh[rows], size_wh, pixels.shape[:2])
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return pixels, boxes[kept], self._labels[rows][kept]

    def _size_wh(self, row: int) -> tuple[int, int]:
        return int(self.columns.sizes_wh[row, 0]), int(self.columns.sizes_wh[row, 1])

    def _crop(self, row: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A random crop of the photo. Scale jitter is applied to the crop only, so that each photo is decoded once."""
        assert self.augment is not None
        assert self.augment.windows is not None
        tile = self.augment.windows
        factor = 1 + rng.uniform(-1, 1) * self.augment.scale_jitter
        pixels, boxes, labels = self._load(row, self.input_size)
        size_wh = (pixels.shape[1], pixels.shape[0])
        window = choose_crop(size_wh, max(1, round(tile.size / factor)), boxes, tile.empty, rng)
        pixels, boxes, labels = cut(pixels, boxes, labels, window)
        if not self.augment.scale_jitter:
            return pixels, boxes, labels
        before_wh = np.array(pixels.shape[1::-1])
        after_wh = np.clip(np.round(before_wh * factor).astype(int), 1, tile.size)
        boxes = np.minimum(boxes * np.tile(after_wh / before_wh, 2), np.tile(after_wh, 2)).astype(np.float32)
        return resize(np.array(pixels), tuple(after_wh.tolist())), boxes, labels

    def _scaled(self, row: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The whole photo, or a crop of `input_size` if scale jitter made it larger than that.

        Scale jitter takes no extra time here, because decoding scales the photo anyway.
        """
        assert self.augment is not None
        side = self.input_size
        factor = 1 + rng.uniform(-1, 1) * self.augment.scale_jitter
        if self.augment.scale_jitter:
            side = max(1, round((side or max(self._size_wh(row))) * factor))
        pixels, boxes, labels = self._load(row, side)
        if self.input_size is None or max(pixels.shape[:2]) <= self.input_size:
            return pixels, boxes, labels
        window = choose_crop((pixels.shape[1], pixels.shape[0]), self.input_size, boxes, 1.0, rng)
        return cut(pixels, boxes, labels, window)

    def _item(
        self, row: int, image: torch.Tensor, boxes_xyxy: torch.Tensor, labels: np.ndarray
    ) -> tuple[torch.Tensor, Target]:
        target = {
            "boxes": boxes_xyxy,
            "labels": torch.from_numpy(labels.astype(np.int64)),
            "image_id": int(self.columns.image_ids[row]),
            "size_wh": self._size_wh(row),
        }
        return image, target


def cut(
    pixels: np.ndarray, boxes_xyxy: np.ndarray, labels: np.ndarray, window_xyxy: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of an image inside a window, and the boxes that `crop_boxes` keeps."""
    left, top, right, bottom = window_xyxy
    boxes, kept = crop_boxes(boxes_xyxy, np.array(window_xyxy, dtype=np.float32))
    return pixels[top:bottom, left:right], boxes, labels[kept]


def scale_boxes(boxes_xywh: np.ndarray, size_wh: tuple[int, int], shape_hw: Sequence[int]) -> np.ndarray:
    """Convert boxes from pixels of the photo to pixels of the model's image.

    Args:
        boxes_xywh: (N, 4) in pixels of the photo.
        size_wh: The photo's width and height.
        shape_hw: Height and width at the model's scale.

    Returns:
        (N, 4) float32 xyxy, clipped to the image; boxes outside the image become degenerate.
    """
    return xywh_to_model_xyxy(boxes_xywh, size_wh, shape_hw).astype(np.float32)


def count_items(columns: CocoColumns, data: DataConfig) -> int:
    """Number of items in one epoch of training."""
    if data.windows is None:
        return len(columns.image_ids)
    return int(count_crops(columns.sizes_wh, data.windows.size, data.image_side).sum())
