"""Finds the dish on a photo by its circular rim, without training.

Here: edges of a small copy, a Hough transform of circles, and their fit by least squares. NumPy takes 1.3 ms a photo;
scikit-image's Canny, `hough_circle` and `CircleModel` took 10 ms, and 0.3 s for their import: a tenth of the time of
`agar predict`. Not here: whether colonies count only inside the dish (`region`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from agar_pipeline.counting.photo_features import small_copy

SIDE_PX = 112
"""Longer side of the copy in which the dish is searched."""
RADII = (0.3, 0.6)
"""Smallest and largest radius of a dish, as shares of the photo's shorter side."""
LEAST_SUPPORT = 0.7
"""Share of the visible part of the circle on which there must be an edge along it. On 63 photos of whole dishes the
least was 0.79, on 684 crops of agar the largest was 0.59."""
LEAST_VISIBLE = 0.6
"""Share of the circle that must lie on the photo."""
AS_GOOD = 0.8
"""A circle with this share of the best one's support is as good. A dish has several rims; the largest is taken."""
_BLUR_PX = 1.1
_LEAST_GRADIENT = 3.0
"""Difference of the luma (0 to 255) over two pixels below which there is no edge: red agar on a grey bench has little
contrast."""
_MOST_EDGES = 1000
_CELL_PX, _RADIUS_STEP_PX = 3, 3.0
"""Resolution of the Hough transform: of the centre, and of the radius."""
_CANDIDATES = 8
_NEAR_PX, _TOLERANCES_PX = 4.5, (2.2, 1.5)
"""Largest distance of an edge from a candidate, and then from the circle after each of its fits."""
_ALONG = 0.94
"""Cosine of the largest angle between an edge's gradient and the circle's radius, 20°."""
_SECTORS = 72
_ANGLES = (np.arange(_SECTORS) + 0.5) * (2 * np.pi / _SECTORS)
_UNIT_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Circle:
    """A circle on a photo of any size. All values are shares of the photo's width."""

    x: float
    y: float
    radius: float

    def in_pixels(self, width_px: float) -> tuple[float, float, float]:
        """The centre, x and y, and the radius, in pixels of a photo that is `width_px` wide.

        >>> Circle(0.5, 0.375, 0.25).in_pixels(4000)
        (2000.0, 1500.0, 1000.0)
        """
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
    edges = _Edges.of(_blurred_luma(pixels))
    width, height = edges.size_wh
    smallest, largest = (share * min(width, height) for share in RADII)
    radii = np.arange(smallest, largest + _RADIUS_STEP_PX / 2, _RADIUS_STEP_PX, dtype=np.float32)
    if radii[0] < 3 * _CELL_PX:  # a strip, on which no dish can be seen
        return None
    circles = edges.candidates(radii)
    supports, near = edges.supports(circles, _NEAR_PX)
    for tolerance_px in _TOLERANCES_PX:
        circles = edges.fit(near)
        supports, near = edges.supports(circles, tolerance_px)
    is_dish = (circles[:, 2] > 0.9 * smallest) & (circles[:, 2] < 1.1 * largest)
    supports = np.where(is_dish, supports, 0.0)
    if supports.max() < LEAST_SUPPORT:
        return None
    as_good = circles[supports >= AS_GOOD * supports.max()]
    x, y, radius = as_good[as_good[:, 2].argmax()].tolist()
    return Circle((x + 0.5) / width, (y + 0.5) / width, radius / width)


def _blurred_luma(pixels: np.ndarray) -> np.ndarray:
    """(h, w) float32 in 0…255, the longer side `SIDE_PX`."""
    small = Image.fromarray(small_copy(pixels)).convert("L")
    scale = SIDE_PX / max(small.size)
    size_wh = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    return np.asarray(
        small.resize(size_wh, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(_BLUR_PX)), np.float32
    )


@dataclass(frozen=True)
class _Edges:
    """The edge pixels of a photo's small copy, at most `_MOST_EDGES`."""

    points_xy: np.ndarray
    """(E, 2) float32."""
    gradients_xy: np.ndarray
    """(E, 2) float32, of length 1."""
    size_wh: tuple[int, int]

    @classmethod
    def of(cls, luma: np.ndarray) -> _Edges:
        """The pixels whose gradient is the largest across the edge, as in Canny's detector, without its hysteresis."""
        height, width = luma.shape
        along_x, along_y = np.zeros_like(luma), np.zeros_like(luma)
        along_x[:, 1:-1] = luma[:, 2:] - luma[:, :-2]
        along_y[1:-1] = luma[2:] - luma[:-2]
        size = np.hypot(along_x, along_y)
        is_level = (np.abs(along_x) >= np.abs(along_y))[1:-1, 1:-1]
        beside = np.maximum(size[1:-1, 2:], size[1:-1, :-2])
        above_or_below = np.maximum(size[2:, 1:-1], size[:-2, 1:-1])
        inner = size[1:-1, 1:-1]
        y, x = np.nonzero((inner >= np.where(is_level, beside, above_or_below)) & (inner > _LEAST_GRADIENT))
        y, x = y + 1, x + 1
        if len(x) > _MOST_EDGES:
            strongest = np.argpartition(-size[y, x], _MOST_EDGES)[:_MOST_EDGES]
            y, x = y[strongest], x[strongest]
        gradients = np.stack([along_x[y, x], along_y[y, x]], axis=1) / size[y, x, None]
        return cls(np.stack([x, y], axis=1).astype(np.float32), gradients, (width, height))

    def candidates(self, radii: np.ndarray) -> np.ndarray:
        """The circles with the most votes, (C, 3) of x, y, radius: each edge votes along its gradient, both ways.

        Args:
            radii: (R,) ascending, two or more.
        """
        margin = int(radii[-1] // _CELL_PX) + 1  # cells around the photo, for the votes outside it
        columns, rows = (side // _CELL_PX + 2 + 2 * margin for side in self.size_wh)
        steps = np.concatenate([radii, -radii])[:, None] / np.float32(_CELL_PX)
        x, y = self.points_xy.T / _CELL_PX + margin
        column, row = (
            (at + steps * slope).astype(np.int32) for at, slope in zip((x, y), self.gradients_xy.T, strict=True)
        )
        first = np.tile(np.arange(len(radii), dtype=np.int32) * (rows * columns), 2)
        votes = np.bincount((first[:, None] + row * columns + column).ravel(), minlength=len(radii) * rows * columns)
        votes = votes.reshape(len(radii), rows, columns)[:, margin:-margin, margin:-margin]
        votes = votes[:, :-1] + votes[:, 1:]  # a circle's votes lie in cells beside each other, and in two radii
        votes = votes[..., :-1] + votes[..., 1:]
        middle = (radii[:-1] + radii[1:]) / 2
        share = ((votes[:-1] + votes[1:]) / middle[:, None, None]).reshape(len(middle), -1)
        best = share.argmax(axis=1)
        y, x = np.divmod(best, votes.shape[2])
        circles = np.stack([(x + 1) * _CELL_PX - 0.5, (y + 1) * _CELL_PX - 0.5, middle], axis=1).astype(np.float32)
        most = np.argsort(-share[np.arange(len(middle)), best], kind="stable")
        return circles[most[:_CANDIDATES]]

    def supports(self, circles: np.ndarray, tolerance_px: float) -> tuple[np.ndarray, np.ndarray]:
        """How well edges support C circles, (C, 3).

        Returns:
            (C,) share of the visible part of each circle on which edges run along it; 0 for a circle that is mostly
            outside the photo. (C, E) bool, these edges.
        """
        offsets = self.points_xy - circles[:, None, :2]
        distances = np.hypot(offsets[..., 0], offsets[..., 1])
        across = np.abs(offsets[..., 0] * self.gradients_xy[:, 0] + offsets[..., 1] * self.gradients_xy[:, 1])
        near = (np.abs(distances - circles[:, 2:]) < tolerance_px) & (across > _ALONG * distances)
        which, edge = np.nonzero(near)
        turns = np.arctan2(offsets[which, edge, 1], offsets[which, edge, 0]) / (2 * np.pi)
        has_edge = np.zeros((len(circles), _SECTORS), bool)
        has_edge[which, np.floor(turns * _SECTORS).astype(int) % _SECTORS] = True
        rim = circles[:, None, :2] + circles[:, None, 2:] * _UNIT_CIRCLE
        is_visible = ((rim >= 1) & (rim < np.array(self.size_wh) - 1)).all(axis=2)
        visible = is_visible.sum(axis=1)
        shares = (has_edge & is_visible).sum(axis=1) / np.maximum(visible, 1)
        return np.where(visible >= LEAST_VISIBLE * _SECTORS, shares, 0.0), near

    def fit(self, near: np.ndarray) -> np.ndarray:
        """The circle that fits each set of edges, (C, E) bool, best: (C, 3); radius 0 for a set that no circle fits.

        Least squares of x² + y² = 2ax + 2by + c (Kåsa 1976, IEEE Trans. Instrum. Meas. 25(1):8-14), with a and b the
        centre, and r² = c + a² + b².
        """
        side = float(max(self.size_wh))
        points = self.points_xy.astype(np.float64) / side
        terms = np.column_stack([points, np.ones(len(points))])
        products = np.column_stack(
            [(terms[:, :, None] * terms[:, None]).reshape(-1, 9), terms * (points**2).sum(axis=1, keepdims=True)]
        )
        sums = np.einsum("ce,ep->cp", near.astype(np.float64), products)  # not `@`: it starts the threads of BLAS
        matrices = sums[:, :9].reshape(-1, 3, 3) + 1e-9 * np.eye(3)  # no set is singular: one without edges gives 0
        twice_x, twice_y, rest = np.linalg.solve(matrices, sums[:, 9:, None])[..., 0].T
        x, y = twice_x / 2, twice_y / 2
        radius = np.sqrt(np.maximum(rest + x**2 + y**2, 0))
        return (np.stack([x, y, radius], axis=1) * side).astype(np.float32)
