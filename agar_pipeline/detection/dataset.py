"""COCO columns and photos as what a torchvision detector eats.

Here: targets, augmentation, loaders. Not here: reading pixels (`images`), judging boxes (`bbox_report`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from agar_pipeline.config import DataConfig
from agar_pipeline.detection.boxes import xywh_to_clipped_xyxy
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.images import load_image, safe_image_path
from agar_pipeline.errors import AnnotationError

Target = dict[str, Any]
Batch = tuple[list[torch.Tensor], list[Target]]


def check_boxes(columns: CocoColumns) -> None:
    """Refuse what makes torchvision crash without a word: an infinite box ends Faster R-CNN in SIGSEGV.

    Raises:
        AnnotationError: a box is not finite, or an annotation has a category that is not listed.
    """
    broken = np.flatnonzero(~np.isfinite(columns.boxes_xywh).all(axis=1))
    if len(broken):
        raise AnnotationError(
            f"annotation {columns.annotation_ids[broken[0]]} has the box {columns.boxes_xywh[broken[0]].tolist()}, "
            f"one of {len(broken)} that are not finite: mend the labels, or set box_policy.non_finite_box: drop_box"
        )
    unknown = np.flatnonzero(~np.isin(columns.annotation_category_ids, columns.category_ids))
    if len(unknown):
        raise AnnotationError(
            f"annotation {columns.annotation_ids[unknown[0]]} has category_id "
            f"{columns.annotation_category_ids[unknown[0]]}, the file lists {columns.category_ids.tolist()}"
        )


def take_images(columns: CocoColumns, rows: np.ndarray) -> CocoColumns:
    """The images in these rows, with their annotations and all categories."""
    kept = np.isin(columns.annotation_image_ids, columns.image_ids[rows])
    return CocoColumns(
        image_ids=columns.image_ids[rows],
        file_names=columns.file_names[rows],
        sizes_wh=columns.sizes_wh[rows],
        annotation_ids=columns.annotation_ids[kept],
        annotation_image_ids=columns.annotation_image_ids[kept],
        annotation_category_ids=columns.annotation_category_ids[kept],
        boxes_xywh=columns.boxes_xywh[kept],
        iscrowd=columns.iscrowd[kept],
        category_ids=columns.category_ids,
        class_names=columns.class_names,
    )


class DetectionDataset(Dataset):
    """Item i: a (3, H, W) uint8 image whose longer side is `input_size`, and its target.

    The target holds `boxes` (N, 4) float32 xyxy in pixels of that image and clipped to it, `labels` (N,) int64 in
    1…K by sorted category_id, `image_id`, and `size_wh`, the photo's own size. N may be 0. Crowds are left out.
    """

    def __init__(
        self,
        columns: CocoColumns,
        images_dir: Path,
        input_size: int,
        augment: DataConfig | None = None,
        seed: int = 0,
    ) -> None:
        check_boxes(columns)
        self.columns, self.images_dir, self.input_size = columns, Path(images_dir), input_size
        self.augment, self.seed = augment, seed
        self.epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        """Shared, so that workers which outlive an epoch see it change."""
        self._order, self._starts = columns.rows_of_images()
        self._labels = np.searchsorted(np.sort(columns.category_ids), columns.annotation_category_ids) + 1

    def __len__(self) -> int:
        return len(self.columns.image_ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Target]:
        columns = self.columns
        size_wh = (int(columns.sizes_wh[index, 0]), int(columns.sizes_wh[index, 1]))
        path = safe_image_path(self.images_dir, columns.file_names[index])
        pixels, _ = load_image(path, self.input_size, size_wh)
        rows = self._order[self._starts[index] : self._starts[index + 1]]
        rows = rows[~columns.iscrowd[rows]]
        boxes, labels = scale_boxes(columns.boxes_xywh[rows], size_wh, pixels.shape[:2]), self._labels[rows]
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, labels = boxes[kept], labels[kept]
        if self.augment is not None:
            rng = np.random.default_rng((self.seed, int(self.epoch), index))
            pixels, boxes = augment_image(pixels, boxes, self.augment, rng)
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        target = {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(labels.astype(np.int64)),
            "image_id": int(columns.image_ids[index]),
            "size_wh": size_wh,
        }
        return image, target


def scale_boxes(boxes_xywh: np.ndarray, size_wh: tuple[int, int], shape_hw: Sequence[int]) -> np.ndarray:
    """Photo pixels to model pixels.

    Args:
        boxes_xywh: (N, 4) in pixels of the photo.
        size_wh: The photo's width and height.
        shape_hw: Height and width at the model's scale.

    Returns:
        (N, 4) float32 xyxy, clipped; what lies outside becomes degenerate.
    """
    factor = np.array([shape_hw[1] / size_wh[0], shape_hw[0] / size_wh[1]] * 2)
    return (xywh_to_clipped_xyxy(boxes_xywh, size_wh) * factor).astype(np.float32)


def augment_image(
    pixels: np.ndarray, boxes_xyxy: np.ndarray, data: DataConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random flips, transposition and brightness of (H, W, 3) uint8 pixels, and (N, 4) boxes that follow them."""
    flip_x, flip_y, swap = rng.random(3) < 0.5
    brightness = rng.uniform(1 - data.brightness, 1 + data.brightness)
    if data.transpose and swap:
        pixels, boxes_xyxy = pixels.transpose(1, 0, 2), boxes_xyxy[:, [1, 0, 3, 2]]
    height, width = pixels.shape[:2]
    if data.flip and flip_x:
        pixels = pixels[:, ::-1]
        boxes_xyxy = np.stack(
            [width - boxes_xyxy[:, 2], boxes_xyxy[:, 1], width - boxes_xyxy[:, 0], boxes_xyxy[:, 3]], axis=1
        )
    if data.flip and flip_y:
        pixels = pixels[::-1]
        boxes_xyxy = np.stack(
            [boxes_xyxy[:, 0], height - boxes_xyxy[:, 3], boxes_xyxy[:, 2], height - boxes_xyxy[:, 1]], axis=1
        )
    if data.brightness:
        table = np.clip(np.arange(256) * brightness, 0, 255).astype(np.uint8)
        pixels = table[pixels]
    return pixels, np.ascontiguousarray(boxes_xyxy, dtype=np.float32)


def collate(items: list[tuple[torch.Tensor, Target]]) -> Batch:
    """Images may differ in shape, so they stay a list; the model pads them."""
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)


def choose_workers(asked: int | None, images: int, ranks: int = 1) -> int:
    """Loader processes per rank: as asked; else 0 for small sets and small machines, and one core is left free."""
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if images < 64 or cores // ranks <= 2:
        return 0
    return min(8, cores // ranks - 1)


def build_loader(
    dataset: DetectionDataset,
    batch_size: int,
    num_workers: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    shuffle: bool = False,
    pin_memory: bool = False,
) -> DataLoader:
    """A loader over one rank's share.

    Args:
        dataset: What to load.
        batch_size: Global; this rank's batches have `batch_size // world_size` images.
        num_workers: Loader processes of this rank.
        rank: This process.
        world_size: All processes.
        shuffle: For training: another order each epoch, and no incomplete batch if there is a complete one.
        pin_memory: For transfers to a GPU.
    """
    local_batch_size = max(1, batch_size // world_size)
    generator = torch.Generator().manual_seed(dataset.seed)
    sampler: Any = None
    if world_size > 1 and shuffle:
        sampler = DistributedSampler(dataset, world_size, rank, shuffle=True, seed=dataset.seed)
    elif world_size > 1:
        sampler = range(rank, len(dataset), world_size)  # a plain share: no image is repeated to even them out
    return DataLoader(
        dataset,
        batch_size=local_batch_size,
        shuffle=shuffle and sampler is None,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        drop_last=shuffle and len(dataset) >= batch_size,
        persistent_workers=num_workers > 0,
        multiprocessing_context="fork" if num_workers > 0 else None,
        pin_memory=pin_memory,
        generator=generator,
    )
