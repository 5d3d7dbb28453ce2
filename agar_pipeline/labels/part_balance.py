"""Measures how much train, val and test differ: in classes, boxes per image, and sizes of boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import PIECE, CocoColumns

FEW = 2
"""With fewer values on one side, a distance of distributions is not computed."""


@dataclass(frozen=True)
class PartDrift:
    """One part compared with the images of all other parts; None if there is too little to compare."""

    images: int
    boxes: int
    class_shares: dict[str, float | None]
    """Class → its share of the part's boxes."""
    class_distance: float | None
    """Total variation of the class shares, 0…1: the share of boxes that would need another class."""
    boxes_per_image_distance: float | None
    """Kolmogorov–Smirnov distance, 0…1."""
    box_size_distance: float | None
    """Kolmogorov–Smirnov distance of the boxes' sides (square root of the area), 0…1."""
    chance_boxes_per_image: float | None
    """`boxes_per_image_distance` is below this value in 95 of 100 random splits."""
    median_boxes_per_image: float | None
    median_box_side_px: float | None

    @property
    def largest(self) -> float | None:
        """The largest of the three distances."""
        distances = (self.class_distance, self.boxes_per_image_distance, self.box_size_distance)
        return max((distance for distance in distances if distance is not None), default=None)


def measure_balance(parts: Mapping[str, CocoColumns]) -> dict[str, Any]:
    """The section of report.json about the parts: figures and distances of each part, and the largest distance."""
    drifts = part_drifts({name: part.in_photo_pixels() for name, part in parts.items()})
    known = [drift.largest for drift in drifts.values() if drift.largest is not None]
    return {"parts": {part: asdict(drift) for part, drift in drifts.items()}, "largest_drift": max(known, default=None)}


def part_drifts(parts: Mapping[str, CocoColumns]) -> dict[str, PartDrift]:
    """Compare each part with the images of all other parts; a randomly drawn part differs little.

    With two parts both have the same distances, as each is compared with the other.
    """
    names = next(iter(parts.values())).class_names if parts else ()
    counts = {part: _class_counts(columns) for part, columns in parts.items()}
    per_image = {part: np.sort(columns.boxes_per_image()) for part, columns in parts.items()}
    sides = {part: sides_px(columns) for part, columns in parts.items()}
    for of_part in sides.values():
        of_part.sort()  # in place, because a million images have 20 million boxes
    drifts = {}
    for part in parts:
        others = [name for name in parts if name != part]
        rest_counts = np.sum([counts[name] for name in others], axis=0) if others else np.zeros(len(names))
        rest_images = _merge([per_image[name] for name in others])
        rest_sides = _merge([sides[name] for name in others])
        total = counts[part].sum()
        drifts[part] = PartDrift(
            images=len(per_image[part]),
            boxes=int(total),
            class_shares={
                name: float(n / total) if total else None for name, n in zip(names, counts[part], strict=True)
            },
            class_distance=total_variation(counts[part], rest_counts),
            boxes_per_image_distance=kolmogorov_smirnov(per_image[part], rest_images),
            box_size_distance=kolmogorov_smirnov(sides[part], rest_sides),
            chance_boxes_per_image=critical_distance(len(per_image[part]), len(rest_images)),
            median_boxes_per_image=_median(per_image[part]),
            median_box_side_px=_median(sides[part]),
        )
    return drifts


def total_variation(counts: np.ndarray, other_counts: np.ndarray) -> float | None:
    """½ Σ |p − q| over the classes, for the shares p and q; in [0, 1], None if one side has no boxes.

    Levin, Peres: "Markov Chains and Mixing Times", 2nd ed., proposition 4.2.

    >>> total_variation(np.array([1, 1]), np.array([3, 1]))
    0.25
    """
    if not counts.sum() or not other_counts.sum():
        return None
    return float(np.abs(counts / counts.sum() - other_counts / other_counts.sum()).sum() / 2)


def kolmogorov_smirnov(values: np.ndarray, other_values: np.ndarray) -> float | None:
    """Sup |F − G| of the two empirical distribution functions; in [0, 1], None below `FEW` values on one side.

    Both arrays must be sorted.
    Hodges: "The significance probability of the Smirnov two-sample test", Arkiv för Matematik 3 (1958).
    """
    if min(len(values), len(other_values)) < FEW:
        return None

    def distance(at: np.ndarray) -> float:
        below = np.searchsorted(values, at, side="right") / len(values)
        other_below = np.searchsorted(other_values, at, side="right") / len(other_values)
        return float(np.abs(below - other_below).max())

    return max(distance(at[i : i + PIECE]) for at in (values, other_values) for i in range(0, len(at), PIECE))


def critical_distance(count: int, other_count: int) -> float | None:
    """The 95 % quantile of the Kolmogorov–Smirnov distance of two samples of one distribution, for large samples.

    √(−½ ln(0.05 / 2)) · √((n + m) / (n m)): Smirnov, "Table for estimating the goodness of fit of empirical
    distributions", Annals of Mathematical Statistics 19 (1948).
    """
    if min(count, other_count) < FEW:
        return None
    return min(1.0, float(np.sqrt(-np.log(0.05 / 2) / 2) * np.sqrt((count + other_count) / (count * other_count))))


def _class_counts(columns: CocoColumns) -> np.ndarray:
    return np.array(
        [np.count_nonzero(columns.annotation_category_ids == id_) for id_ in columns.category_ids], dtype=int
    )


def sides_px(columns: CocoColumns) -> np.ndarray:
    """Square roots of the areas of the boxes with an area."""

    def of_piece(boxes_xywh: np.ndarray) -> np.ndarray:
        areas = boxes_xywh[:, 2] * boxes_xywh[:, 3]
        return np.sqrt(areas[np.isfinite(areas) & (areas > 0) & (boxes_xywh[:, 2] > 0)])

    return np.concatenate([of_piece(piece.boxes_xywh) for piece in columns.pieces()])


def _merge(ascending: list[np.ndarray]) -> np.ndarray:
    return ascending[0] if len(ascending) == 1 else np.sort(np.concatenate([np.zeros(0), *ascending]))


def _median(ascending: np.ndarray) -> float | None:
    middle = len(ascending) // 2
    return float(ascending[middle - 1 + len(ascending) % 2 : middle + 1].mean()) if len(ascending) else None
