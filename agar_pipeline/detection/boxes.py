"""Box formats. Every name says its format; conversion happens once, at a boundary."""

from __future__ import annotations

import numpy as np


def rel_xywh_to_xywh(boxes_rel_xywh: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Scale FiftyOne boxes to pixels.

    Args:
        boxes_rel_xywh: (N, 4) top-left x, y, width, height as shares of the image.
        sizes_wh: (N, 2) or (2,) width and height of each box's image, pixels.

    Returns:
        (N, 4) float64 in pixels, not clipped.

    Raises:
        ValueError: a side of an image is not positive.
    """
    sizes_wh = np.asarray(sizes_wh, dtype=np.float64)
    if (sizes_wh <= 0).any():
        raise ValueError(f"image size {sizes_wh[(sizes_wh <= 0).any(-1)][:1].tolist()} has a side that is not positive")
    return np.asarray(boxes_rel_xywh, dtype=np.float64) * np.concatenate([sizes_wh, sizes_wh], axis=-1)


def xywh_to_rel_xywh(boxes_xywh: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Inverse of `rel_xywh_to_xywh`: (N, 4) pixels to (N, 4) shares of the image."""
    sizes_wh = np.asarray(sizes_wh, dtype=np.float64)
    return np.asarray(boxes_xywh, dtype=np.float64) / np.concatenate([sizes_wh, sizes_wh], axis=-1)


def xywh_to_clipped_xyxy(boxes_xywh: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """COCO boxes to pixel corners inside the image.

    Args:
        boxes_xywh: (N, 4) top-left x, y, width, height in pixels.
        size_wh: Image width and height, pixels.

    Returns:
        (N, 4) x1, y1, x2, y2 with 0 ≤ x ≤ width and 0 ≤ y ≤ height. A box that lies outside becomes degenerate:
        the caller drops it.
    """
    corners = np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)
    width, height = size_wh
    return np.clip(corners, 0, [width, height, width, height])


def xyxy_to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4) pixel corners to (N, 4) COCO boxes."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
