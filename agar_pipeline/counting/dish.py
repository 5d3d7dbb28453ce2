"""Finds the dish on a photo by its circular rim, without training.

Here: candidates by a circular Hough transform, and their fit to the edges (scikit-image). Not here: whether colonies
count only inside the dish (`region`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from PIL import Image

COARSE_SIDE_PX, FINE_SIDE_PX = 96, 192
"""Longer side of the copies in which candidates are searched and fitted. Both together take about 10 ms."""
RADII = (0.3, 0.6)
"""Smallest and largest radius of a dish, as shares of the photo's shorter side."""
LEAST_SUPPORT = 0.8
"""Share of the visible part of the circle on which there must be an edge along it. On 63 photos of whole dishes the
least was 0.91, on 684 crops of agar the largest was 0.77."""
LEAST_VISIBLE = 0.6
"""Share of the circle that must lie on the photo."""
AS_GOOD = 0.8
"""A circle with this share of the best one's support is as good. A dish has several rims; the largest is taken."""
_FITTED = 6
_EDGES = {"low_threshold": 0.05, "high_threshold": 0.1}
"""Half of Canny's usual ones: red agar on a grey bench has little contrast in the luma."""
_SECTORS = 72
_NEAR_PX, _ON_PX = 3.0, 2.0
_ALONG = 0.94
"""Cosine of the largest angle between an edge's gradient and the circle's radius, 20°."""


@dataclass(frozen=True)
class Circle:
    """A circle on a photo of any size. All values are shares of the photo's width."""

    x: float
    y: float
    radius: float

    def in_pixels(self, width_px: float) -> tuple[float, float, float]:
        """The centre, x and y, and the radius, in pixels of a photo that is `width_px` wide."""
        return self.x * width_px, self.y * width_px, self.radius * width_px

    def to_plain(self) -> list[float]:
        return [round(value, 4) for value in astuple(self)]

    @classmethod
    def from_plain(cls, plain: Any) -> Circle:
        return cls(*map(float, plain))


def inside(boxes_xywh: np.ndarray, circles_px: Any) -> np.ndarray:
    """(N,) bool: the centre of the box lies inside the circle.

    Args:
        boxes_xywh: (N, 4) pixels.
        circles_px: x, y, radius in the same pixels: (3,) for all boxes, or (N, 3).
    """
    x, y, radius = np.asarray(circles_px, np.float64).T
    centres = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    return np.hypot(centres[:, 0] - x, centres[:, 1] - y) <= radius


def find_dish(pixels: np.ndarray) -> Circle | None:
    """Find the outermost rim of a dish.

    Args:
        pixels: (H, W, 3) uint8 of a photo at any scale.

    Returns:
        None if edges along a circle are found on too small a part of it: a crop of agar, a dish without a visible rim.
    """
    photo = Image.fromarray(pixels)
    reduced = photo.reduce(max(1, max(photo.size) // (2 * FINE_SIDE_PX))).convert("L")
    fine, coarse = _gray(reduced, FINE_SIDE_PX), _gray(reduced, COARSE_SIDE_PX)
    edges = _Edges.of(fine)
    best: list[tuple[float, np.ndarray]] = []
    for circle in _candidates(coarse, edges):
        if len(best) < _FITTED and all(np.abs(circle - other).max() >= _ON_PX for _, other in best):
            best.append(edges.fit(circle))
    most = max((support for support, _ in best), default=0.0)
    if most < LEAST_SUPPORT:
        return None
    x, y, radius = max((circle for support, circle in best if support >= AS_GOOD * most), key=lambda circle: circle[2])
    width = fine.shape[1]
    return Circle((x + 0.5) / width, (y + 0.5) / width, radius / width)


def _gray(photo: Image.Image, side_px: int) -> np.ndarray:
    """(h, w) float32 in 0…1, the longer side `side_px`."""
    scale = side_px / max(photo.size)
    size_wh = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return np.asarray(photo.resize(size_wh, Image.Resampling.BOX), np.float32) / 255


def _candidates(coarse: np.ndarray, edges: _Edges) -> list[np.ndarray]:
    """Circles (x, y, radius) in pixels of the fine copy, best first: the Hough transform's best for each radius."""
    from skimage.feature import canny
    from skimage.transform import hough_circle

    radii = np.arange(int(RADII[0] * min(coarse.shape)), int(RADII[1] * min(coarse.shape)) + 1)
    if radii[0] < 4:  # a strip, on which no dish can be seen
        return []
    votes = hough_circle(canny(coarse, 1.2, **_EDGES), radii).reshape(len(radii), -1)
    y, x = np.divmod(votes.argmax(axis=1), coarse.shape[1])
    scale = FINE_SIDE_PX / COARSE_SIDE_PX
    circles = np.stack([(x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, radii * scale], axis=1)
    supports = np.array([edges.support(circle, _NEAR_PX)[0] for circle in circles])
    good = np.flatnonzero(supports >= max(0.4, 0.75 * supports.max()))
    return list(circles[good[np.argsort(-supports[good], kind="stable")]])


@dataclass(frozen=True)
class _Edges:
    """The edge pixels of the fine copy."""

    points_xy: np.ndarray
    """(E, 2)."""
    gradients_xy: np.ndarray
    """(E, 2), of length 1."""
    size_wh: tuple[int, int]

    @classmethod
    def of(cls, gray: np.ndarray) -> _Edges:
        from scipy.ndimage import gaussian_filter
        from skimage.feature import canny

        y, x = np.nonzero(canny(gray, 1.5, **_EDGES))
        along_y, along_x = np.gradient(gaussian_filter(gray, 1.5))
        gradients = np.stack([along_x[y, x], along_y[y, x]], axis=1)
        lengths = np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-9)
        return cls(np.stack([x, y], axis=1).astype(np.float64), gradients / lengths, gray.shape[::-1])

    def support(self, circle: np.ndarray, tolerance_px: float) -> tuple[float, np.ndarray]:
        """Share of the visible part of a circle on which edges run along it, and the rows of these edges.

        The share is 0 for a circle that is mostly outside the photo.
        """
        offsets = self.points_xy - circle[:2]
        distances = np.hypot(offsets[:, 0], offsets[:, 1])
        rows = np.flatnonzero(np.abs(distances - circle[2]) < tolerance_px)
        cosines = np.abs((offsets[rows] * self.gradients_xy[rows]).sum(axis=1)) / np.maximum(distances[rows], 1e-9)
        rows = rows[cosines > _ALONG]
        turns = np.arctan2(offsets[rows, 1], offsets[rows, 0]) / (2 * np.pi)
        has_edge = np.zeros(_SECTORS, bool)
        has_edge[np.floor(turns * _SECTORS).astype(int) % _SECTORS] = True
        angles = (np.arange(_SECTORS) + 0.5) * (2 * np.pi / _SECTORS)
        on_circle = circle[:2] + circle[2] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        visible = ((on_circle >= 1) & (on_circle < np.array(self.size_wh) - 1)).all(axis=1)
        if visible.mean() < LEAST_VISIBLE:
            return 0.0, rows
        return float((has_edge & visible).sum() / visible.sum()), rows

    def fit(self, circle: np.ndarray) -> tuple[float, np.ndarray]:
        """Support and values of the circle that fits the edges near a candidate best, by least squares."""
        from skimage.measure import CircleModel

        support, rows = self.support(circle, _NEAR_PX)
        for _ in range(2):
            fitted = CircleModel.from_estimate(self.points_xy[rows])
            if not fitted:
                return 0.0, circle
            circle = np.array([*fitted.center, fitted.radius])
            support, rows = self.support(circle, _ON_PX)
        return support, circle
