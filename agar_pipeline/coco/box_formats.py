"""Converts boxes between formats; each function name states the formats.

A format is converted once, where data enters or leaves the program.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

XYWH_COLUMNS = ["x", "y", "width", "height"]
"""The columns of a box in all tables: top-left corner and size, pixels of the photo."""


def rel_xywh_to_xywh(boxes_rel_xywh: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Convert FiftyOne boxes to pixels.

    >>> rel_xywh_to_xywh(np.array([[0.5, 0.5, 0.1, 0.2]]), np.array([100, 200])).tolist()
    [[50.0, 100.0, 10.0, 40.0]]

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
    """Inverse of `rel_xywh_to_xywh`: (N, 4) pixels to (N, 4) shares of the image.

    >>> xywh_to_rel_xywh(np.array([[50, 100, 10, 40]]), np.array([100, 200])).tolist()
    [[0.5, 0.5, 0.1, 0.2]]
    """
    sizes_wh = np.asarray(sizes_wh, dtype=np.float64)
    return np.asarray(boxes_xywh, dtype=np.float64) / np.concatenate([sizes_wh, sizes_wh], axis=-1)


def turn_rel_xywh(boxes_rel_xywh: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Convert boxes drawn on photos as stored to the photos as displayed.

    >>> turn_rel_xywh(np.array([[0.0, 0.0, 0.25, 0.5]]), np.array([6])).tolist()
    [[0.5, 0.0, 0.5, 0.25]]

    Args:
        boxes_rel_xywh: (N, 4) top-left x, y, width, height as shares of the stored photo.
        orientations: (N,) EXIF orientation of each box's photo, 1…8.

    Returns:
        (N, 4) boxes as shares of the displayed photo.
    """
    swapped = np.where((orientations >= 5)[:, None], boxes_rel_xywh[:, [1, 0, 3, 2]], boxes_rel_xywh)
    x, y, width, height = swapped.T
    x = np.where(np.isin(orientations, (2, 3, 6, 7)), 1 - x - width, x)
    y = np.where(np.isin(orientations, (3, 4, 7, 8)), 1 - y - height, y)
    return np.stack([x, y, width, height], axis=1)


def turn_back_rel_xywh(boxes_rel_xywh: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Inverse of `turn_rel_xywh`: (N, 4) boxes drawn on photos as displayed to the photos as stored.

    >>> turn_back_rel_xywh(np.array([[0.5, 0.0, 0.25, 0.5]]), np.array([6])).tolist()
    [[0.0, 0.25, 0.5, 0.25]]
    """
    undoing = np.where(np.isin(orientations, (6, 8)), 14 - orientations, orientations)  # all others undo themselves
    return turn_rel_xywh(boxes_rel_xywh, undoing)


def xywh_to_clipped_xyxy(boxes_xywh: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Convert COCO boxes to pixel corners inside the image.

    >>> xywh_to_clipped_xyxy(np.array([[90, 10, 20, 30]]), (100, 200)).tolist()
    [[90, 10, 100, 40]]

    Args:
        boxes_xywh: (N, 4) top-left x, y, width, height in pixels.
        size_wh: Image width and height, pixels.

    Returns:
        (N, 4) x1, y1, x2, y2 with 0 ≤ x ≤ width and 0 ≤ y ≤ height. A box outside the image becomes degenerate; the
        caller drops it.
    """
    corners = np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)
    width, height = size_wh
    return np.clip(corners, 0, [width, height, width, height])


def xyxy_to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Convert (N, 4) pixel corners to (N, 4) COCO boxes.

    >>> xyxy_to_xywh(np.array([[10, 20, 40, 60]])).tolist()
    [[10, 20, 30, 40]]
    """
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def xywh_to_model_xyxy(boxes_xywh: np.ndarray, size_wh: tuple[int, int], shape_hw: Sequence[int]) -> np.ndarray:
    """Convert COCO boxes to (N, 4) float64 corners in pixels of a scaled image, clipped to it.

    >>> xywh_to_model_xyxy(np.array([[10, 20, 30, 40]]), (100, 200), (100, 50)).tolist()
    [[5.0, 10.0, 20.0, 30.0]]

    Args:
        boxes_xywh: (N, 4) in pixels of the photo.
        size_wh: Width and height of the photo, pixels.
        shape_hw: Height and width of the scaled image, pixels.
    """
    factors = np.array([shape_hw[1] / size_wh[0], shape_hw[0] / size_wh[1]] * 2)
    return xywh_to_clipped_xyxy(boxes_xywh, size_wh) * factors


def model_xyxy_to_xywh(boxes_xyxy: np.ndarray, size_wh: tuple[int, int], shape_hw: Sequence[int]) -> np.ndarray:
    """Inverse of `xywh_to_model_xyxy`: corners in pixels of a scaled image to COCO boxes, clipped to the photo.

    >>> model_xyxy_to_xywh(np.array([[5.0, 10, 20, 30]]), (100, 200), (100, 50)).tolist()
    [[10.0, 20.0, 30.0, 40.0]]
    """
    width, height = size_wh
    boxes_xyxy = boxes_xyxy * np.array([width / shape_hw[1], height / shape_hw[0]] * 2)
    return xyxy_to_xywh(np.clip(boxes_xyxy, 0, [width, height, width, height]))
