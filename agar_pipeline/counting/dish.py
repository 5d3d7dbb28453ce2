"""Finds the dish on a photo by its circular rim, without training.

Here: candidates by a circular Hough transform, and their fit to the edges (scikit-image). Not here: whether colonies
count only inside the dish (`region`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from PIL import Image

from agar_pipeline.counting.photo_features import small_copy

COARSE_SIDE_PX = 64
"""Longer side of the copy in which candidates are searched; they are fitted on `photo_features.small_copy`."""
RADII = (0.3, 0.6)
"""Smallest and largest radius of a dish, as shares of the photo's shorter side."""
LEAST_SUPPORT = 0.8
"""Share of the visible part of the circle on which there must be an edge along it. On 63 photos of whole dishes the
least was 0.89, on 684 crops of agar the largest was 0.70."""
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


def find_dish(pixels: np.ndarray) -> Circle | None:
    """Find the outermost rim of a dish.

    Args:
        pixels: (H, W, 3) uint8 of a photo at any scale.

    Returns:
        None if edges along a circle are found on too small a part of it: a crop of agar, a dish without a visible rim.
    """
    small = Image.fromarray(small_copy(pixels)).convert("L")
    fine, coarse = _gray(small, max(small.size)), _gray(small, COARSE_SIDE_PX)
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
    if len(radii) == 0 or radii[0] < 4:  # a strip, on which no dish can be seen
        return []
    votes = hough_circle(canny(coarse, 1.2, **_EDGES), radii).reshape(len(radii), -1)
    y, x = np.divmod(votes.argmax(axis=1), coarse.shape[1])
    scale = max(edges.size_wh) / COARSE_SIDE_PX
    circles = np.stack([(x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, radii * scale], axis=1)
    supports, _ = edges.supports(circles, _NEAR_PX)
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

    def supports(self, circles: np.ndarray, tolerance_px: float) -> tuple[np.ndarray, np.ndarray]:
        """How well edges support C circles, (C, 3).

        Returns:
            (C,) share of the visible part of each circle on which edges run along it; 0 for a circle that is mostly
            outside the photo. (C, E) bool, these edges.
        """
        offsets = self.points_xy - circles[:, None, :2]
        distances = np.sqrt((offsets**2).sum(axis=2))
        on_it = np.abs(distances - circles[:, None, 2]) < tolerance_px
        which, edge = np.nonzero(on_it)
        offsets = offsets[which, edge]
        along = np.abs((offsets * self.gradients_xy[edge]).sum(axis=1)) > _ALONG * distances[which, edge]
        on_it[which, edge] = along
        turns = np.arctan2(offsets[along, 1], offsets[along, 0]) / (2 * np.pi)
        has_edge = np.zeros((len(circles), _SECTORS), bool)
        has_edge[which[along], np.floor(turns * _SECTORS).astype(int) % _SECTORS] = True
        angles = (np.arange(_SECTORS) + 0.5) * (2 * np.pi / _SECTORS)
        rim = circles[:, None, :2] + circles[:, None, 2:] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        is_visible = ((rim >= 1) & (rim < np.array(self.size_wh) - 1)).all(axis=2)
        visible = is_visible.sum(axis=1)
        shares = (has_edge & is_visible).sum(axis=1) / np.maximum(visible, 1)
        return np.where(visible >= LEAST_VISIBLE * _SECTORS, shares, 0.0), on_it

    def fit(self, circle: np.ndarray) -> tuple[float, np.ndarray]:
        """Support and values of the circle that fits the edges near a candidate best, by least squares."""
        from skimage.measure import CircleModel

        shares, on_it = self.supports(circle[None], _NEAR_PX)
        for _ in range(2):
            fitted = CircleModel.from_estimate(self.points_xy[on_it[0]])
            if not fitted:
                return 0.0, circle
            circle = np.array([*fitted.center, fitted.radius])
            shares, on_it = self.supports(circle[None], _ON_PX)
        return float(shares[0]), circle
