"""Random changes of a training image, and the matching changes of its boxes.

Here: functions that take and return uint8 images and draw from a given generator. Not here: changes of scale and the
choice of crops, which decide how a photo is decoded (`dataset`).

The pixels are changed by torchvision v2's kernels and not by its classes, because the classes draw from torch's global
generator, and the outcome would depend on the loader process. On planar uint8 images (1024 px, one core) the kernels
take 0.2 ms for a flip (numpy takes 7 ms on interleaved pixels), 4 ms for brightness, 8 ms for contrast, 9 ms for
saturation and 98 ms for hue. For this reason hue is off by default. v2's `rotate` resamples pixels even at 90°; `rot90`
is exact and fifty times faster.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxFormat

from agar_pipeline.config import DataConfig

MIN_VISIBLE = 0.3
"""A box is dropped if a crop keeps less than this share of its area."""
_XYXY = BoundingBoxFormat.XYXY
_LEAST_PIECE = 3
"""Pixels; a colony with a shorter side is not pasted."""
Shown = tuple[np.ndarray, np.ndarray, np.ndarray]
"""An image: (H, W, 3) uint8 pixels, (N, 4) float32 boxes_xyxy on them, (N,) labels."""


def augment_image(
    image: torch.Tensor, boxes_xyxy: torch.Tensor, data: DataConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip, rotate by quarter turns and change the colours of an image, as the config says.

    Args:
        image: (3, H, W) uint8.
        boxes_xyxy: (N, 4) float32, pixels of the image.
        data: Which changes are made, and how large they are.
        rng: Random generator. The number of draws is always the same, so that one change does not depend on whether
            another one is switched on.

    Returns:
        The image, with H and W swapped if it was rotated by 90° or 270°, and the boxes. No box is lost.
    """
    flip_x, flip_y = rng.random(2) < 0.5
    turns = int(rng.integers(4))
    if data.flip and flip_x:
        boxes_xyxy = F.horizontal_flip_bounding_boxes(boxes_xyxy, _XYXY, image.shape[1:])
        image = F.horizontal_flip_image(image)
    if data.flip and flip_y:
        boxes_xyxy = F.vertical_flip_bounding_boxes(boxes_xyxy, _XYXY, image.shape[1:])
        image = F.vertical_flip_image(image)
    if data.quarter_turns and turns:
        boxes_xyxy = _turn_boxes(boxes_xyxy, turns, (image.shape[2], image.shape[1]))
        image = torch.rot90(image, turns, (1, 2))
    return _colour(image, data, rng).contiguous(), boxes_xyxy


def _turn_boxes(boxes_xyxy: torch.Tensor, turns: int, size_wh: tuple[int, int]) -> torch.Tensor:
    """Apply to the boxes what `rot90` over (H, W) does to the image: counter-clockwise, `turns` quarter turns."""
    for _ in range(turns):
        x1, y1, x2, y2 = boxes_xyxy.unbind(1)
        boxes_xyxy = torch.stack([y1, size_wh[0] - x2, y2, size_wh[0] - x1], dim=1)
        size_wh = (size_wh[1], size_wh[0])
    return boxes_xyxy


def _colour(image: torch.Tensor, data: DataConfig, rng: np.random.Generator) -> torch.Tensor:
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4)
    if data.brightness:
        image = F.adjust_brightness_image(image, 1 + brightness * data.brightness)
    if data.contrast:
        image = F.adjust_contrast_image(image, 1 + contrast * data.contrast)
    if data.saturation:
        image = F.adjust_saturation_image(image, 1 + saturation * data.saturation)
    if data.hue:
        image = F.adjust_hue_image(image, hue * data.hue)
    return image


def paste_colonies(shown: Shown, source: Shown, most: int, rng: np.random.Generator) -> Shown:
    """Paste colonies of another photo into an image, each at a place where it overlaps no annotated box.

    A colony is copied as the ellipse inscribed in its box, with a soft rim, so that there is no straight edge that the
    model could learn (copy-paste augmentation; Ghiasi et al. 2021 use masks, here boxes are used).

    Args:
        shown: The image. It is not changed.
        most: Maximum number of colonies. The number, the colonies and their places are random. A colony is skipped if
            its first random place overlaps a box.

    Returns:
        A new image of the same size, with the boxes and labels of the pasted colonies appended.
    """
    pixels, boxes, labels = np.array(shown[0]), shown[1], shown[2]
    from_pixels, from_boxes, from_labels = source
    size_wh = np.array(pixels.shape[1::-1])
    for row in rng.permutation(len(from_boxes))[: int(rng.integers(0, most, endpoint=True))]:
        x1, y1, x2, y2 = np.round(from_boxes[row]).astype(int)
        piece = from_pixels[y1:y2, x1:x2]
        piece_wh = np.array(piece.shape[1::-1])
        if min(piece_wh) < _LEAST_PIECE or (piece_wh >= size_wh).any():
            continue
        corner = rng.integers(size_wh - piece_wh)
        box = np.concatenate([corner, corner + piece_wh]).astype(np.float32)
        if ((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])).all(axis=1).any():
            continue
        place = pixels[corner[1] : corner[1] + piece_wh[1], corner[0] : corner[0] + piece_wh[0]]
        weight = _soft_ellipse(*piece_wh.tolist())
        place[:] = (weight * piece + (1 - weight) * place + 0.5).astype(np.uint8)
        boxes, labels = np.concatenate([boxes, box[None]]), np.append(labels, from_labels[row])
    return pixels, boxes, labels


def _soft_ellipse(width: int, height: int) -> np.ndarray:
    """(height, width, 1) weights: 1 inside 0.9 of the ellipse inscribed in the box, falling to 0 at 1.1 of it."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(np.clip((1.1 - np.hypot(x, y)) / 0.2, 0, 1)[..., None])


def crop_boxes(boxes_xyxy: np.ndarray, window_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to a window and drop those of which too little is visible.

    >>> boxes, rows = crop_boxes(np.array([[0, 0, 10, 10], [8, 8, 28, 28]]), np.array([5, 5, 25, 25]))
    >>> boxes.tolist(), rows.tolist()
    ([[3, 3, 20, 20]], [1])

    Args:
        boxes_xyxy: (N, 4).
        window_xyxy: (4,) in the same pixels.

    Returns:
        (M, 4) boxes clipped to the window, in pixels of the window, and the (M,) row numbers of the kept boxes: those
        with at least `MIN_VISIBLE` of their area, and more than 0 pixels, inside the window.
    """
    clipped = np.clip(boxes_xyxy, np.tile(window_xyxy[:2], 2), np.tile(window_xyxy[2:], 2))
    visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
    whole = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    rows = np.flatnonzero((visible > 0) & (visible >= MIN_VISIBLE * whole))
    return clipped[rows] - np.tile(window_xyxy[:2], 2), rows
