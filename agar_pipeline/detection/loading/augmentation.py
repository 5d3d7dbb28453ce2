"""Random changes of a training image, and boxes that follow them.

Here: uint8 in, uint8 out, drawn from a given generator. Not here: changes of scale and tiles, which decide how a photo
is decoded (`dataset`).

Pixels go through torchvision v2's kernels rather than its classes: those draw from torch's global generator, so that
the outcome would depend on the worker. On planar uint8 the kernels cost (1024 px, one core) 0.2 ms a flip, where numpy
takes 7 on interleaved pixels, 4 ms brightness, 8 contrast, 9 saturation, and 98 ms hue, which is why hue is off unless
asked for. v2's `rotate` resamples even at 90°: `rot90` is exact and fifty times quicker.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxFormat

from agar_pipeline.config import DataConfig

MIN_VISIBLE = 0.3
"""A colony of which a cut leaves a smaller share of its box is no longer shown to the model as one."""
_XYXY = BoundingBoxFormat.XYXY
_LEAST_PIECE = 3
"""Pixels: a smaller colony is not pasted."""
Shown = tuple[np.ndarray, np.ndarray, np.ndarray]
"""An image: (H, W, 3) uint8 pixels, (N, 4) float32 boxes_xyxy on them, (N,) labels."""


def augment_image(
    image: torch.Tensor, boxes_xyxy: torch.Tensor, data: DataConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip, turn and colour as the config allows.

    Args:
        image: (3, H, W) uint8.
        boxes_xyxy: (N, 4) float32, pixels of the image.
        data: Which changes, and how large.
        rng: Always drawn from equally often, so that one change does not depend on whether another is on.

    Returns:
        The image, H and W swapped where it was turned by 90°, and the boxes, none lost.
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
    """Follow `rot90` over (H, W): counter-clockwise, `turns` times a quarter."""
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
    """Put colonies of another photo onto an image, each where it meets no annotated box.

    A colony is copied as the ellipse in its box, with a soft rim, so that no straight edge tells it from its
    surroundings (copy-paste augmentation; Ghiasi et al. 2021 on masks, boxes here).

    Args:
        shown: The image. It is not changed.
        source: The other photo, at the same scale.
        most: Colonies at most; how many, which and where is drawn. One that fits nowhere at once is left out.
        rng: Drawn from.

    Returns:
        A new image of the same size, and the boxes and labels with those of the pasted ones.
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
    """(height, width, 1) weights: 1 inside the ellipse that the box encloses, falling to 0 a tenth beyond it."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(np.clip((1.1 - np.hypot(x, y)) / 0.2, 0, 1)[..., None])


def crop_boxes(boxes_xyxy: np.ndarray, window_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as a window shows them.

    Args:
        boxes_xyxy: (N, 4).
        window_xyxy: (4,) in the same pixels.

    Returns:
        (M, 4) clipped to the window, in its pixels, and the (M,) rows of those kept: at least `MIN_VISIBLE` of a
        box is inside, and something of it.
    """
    clipped = np.clip(boxes_xyxy, np.tile(window_xyxy[:2], 2), np.tile(window_xyxy[2:], 2))
    visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
    whole = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    rows = np.flatnonzero((visible > 0) & (visible >= MIN_VISIBLE * whole))
    return clipped[rows] - np.tile(window_xyxy[:2], 2), rows
