"""How far a photo is from those that the detector was trained on, by a few plain features.

On a photo unlike the training photos a detector finds fewer colonies, or other things, and its scores are high all the
same. Therefore the ranges of the training photos' features are kept with the calibration, and a photo outside them is
named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.counting.photo_features import (
    PhotoFeatures,
    PixelFeatures,
    measure_files,
    measure_photo,
    measure_pixels,
    sample_rows,
)
from agar_pipeline.progress import Log, progress_bar

MOST_PHOTOS = 200
"""Number of training photos whose pixels are read."""
CENTRAL = (0.01, 0.99)
"""Quantiles of the training photos that bound the range of a feature."""
LEAST_THRESHOLD = 1.0
FEW_PHOTOS = 10
"""The threshold is higher by `FEW_PHOTOS` / number of training photos: few photos show little of the range."""


@dataclass(frozen=True)
class _Feature:
    words: str
    """`{}` stands for the value, or for the range."""
    floor: float
    """Least spread. A difference below it is of no importance, however alike the training photos are."""
    is_ratio: bool = True
    """It is compared as a ratio, on the scale of ln(value + 1); else as a difference."""


_FEATURES = {
    "side_px": _Feature("photo of {} px", 0.25),
    "colony_px": _Feature("colonies of {} px", 0.25),
    "colony_share": _Feature("colonies of {} of the photo's side", 0.25),
    "count": _Feature("colony count {}", 0.5),
    "brightness": _Feature("brightness {}", 12, is_ratio=False),
    "contrast": _Feature("contrast {}", 8, is_ratio=False),
    "colourfulness": _Feature("colourfulness {}", 12, is_ratio=False),
}
"""In the order in which differences are named."""


@dataclass(frozen=True)
class Range:
    """The range of one feature on the training photos, in the feature's own unit."""

    low: float
    high: float
    spread: float
    """Robust standard deviation on the scale of the comparison, at least the feature's floor."""

    def distance(self, name: str, value: float) -> float:
        """How far a value lies outside, in spreads; 0 inside.

        >>> usual = Range(low=90, high=140, spread=10)
        >>> usual.distance("brightness", 120), usual.distance("brightness", 210)
        (0.0, 7.0)
        """
        low, value, high = (_scaled(name, one) for one in (self.low, value, self.high))
        return float(max(low - value, value - high, 0) / self.spread)


@dataclass(frozen=True)
class TrainingLikeness:
    """The ranges of the training photos' features, and from which distance on a photo is unlike them."""

    ranges: Mapping[str, Range]
    threshold: float
    """Spreads; the 99 % quantile of the training photos' own scores, at least `LEAST_THRESHOLD`, and more for few."""
    num_photos: int

    def score(self, features: PhotoFeatures) -> float:
        """The largest distance of a feature from its range, in spreads."""
        return max(self._distances(features).values(), default=0.0)

    def unlike(self, features: PhotoFeatures) -> tuple[str, ...]:
        """What is unlike the training photos, in words: `photo of 4,000 px (training: 512 px)`; empty if nothing is."""
        values = features.values()
        far = [name for name, distance in self._distances(features).items() if distance > self.threshold]
        return tuple(self._words(name, values[name]) for name in _FEATURES if name in far)

    def _distances(self, features: PhotoFeatures) -> dict[str, float]:
        return {
            name: self.ranges[name].distance(name, value)
            for name, value in features.values().items()
            if name in self.ranges
        }

    def _words(self, name: str, value: float) -> str:
        own, low, high = (_number(name, one) for one in (value, self.ranges[name].low, self.ranges[name].high))
        known = low if low == high else f"{low} to {high}"
        return f"{_FEATURES[name].words.format(own)} (training: {known}{' px' if name.endswith('_px') else ''})"

    def to_plain(self) -> dict[str, Any]:
        ranges = {name: {key: round(value, 4) for key, value in vars(one).items()} for name, one in self.ranges.items()}
        return {"ranges": ranges, "threshold": round(self.threshold, 4), "num_photos": self.num_photos}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TrainingLikeness:
        ranges = {name: Range(**one) for name, one in plain["ranges"].items()}
        return cls(ranges, float(plain["threshold"]), int(plain["num_photos"]))


def fit_likeness(photos: Sequence[PhotoFeatures]) -> TrainingLikeness | None:
    """Fit to the training photos; None without any."""
    if not photos:
        return None
    every = [photo.values() for photo in photos]
    ranges = {}
    for name, feature in _FEATURES.items():
        values = np.array([one[name] for one in every if name in one])
        if len(values):
            low, high = np.quantile(values, CENTRAL)
            quarter, three_quarters = np.quantile([_scaled(name, value) for value in values], (0.25, 0.75))
            ranges[name] = Range(float(low), float(high), max(feature.floor, float(three_quarters - quarter) / 1.349))
    own = TrainingLikeness(ranges, LEAST_THRESHOLD, len(photos))
    highest = float(np.quantile([own.score(photo) for photo in photos], CENTRAL[1]))
    threshold = max(LEAST_THRESHOLD, highest) + FEW_PHOTOS / len(photos)
    return TrainingLikeness(ranges, threshold, len(photos))


def measure_training(columns: CocoColumns, images_dir: Path, log: Log | None = None) -> list[PhotoFeatures]:
    """Measure the training photos with their annotations of the classes that count; pixels of some of them only.

    Args:
        columns: The annotations of train.
        images_dir: Folder that `file_name` is relative to.
    """
    rows = sample_rows(len(columns.image_ids), MOST_PHOTOS)
    with progress_bar("measuring training photos", log) as progress:
        pixels = measure_files(measure_pixels, images_dir, [str(columns.file_names[row]) for row in rows], progress)
    pixels_of_row: dict[int, PixelFeatures | None] = dict(zip(rows.tolist(), pixels, strict=True))
    columns = columns.in_photo_pixels().without_crowds()
    order, starts = columns.rows_of_images()
    return [
        measure_photo(
            tuple(columns.sizes_wh[row].tolist()),
            columns.boxes_xywh[order[starts[row] : starts[row + 1]]],
            pixels_of_row.get(row),
        )
        for row in range(len(columns.image_ids))
    ]


def _scaled(name: str, value: float) -> float:
    if not _FEATURES[name].is_ratio:
        return value
    return float(np.log1p(value) if name == "count" else np.log(value))


def _number(name: str, value: float) -> str:
    if name == "colony_share":
        return f"{100 * value:.2g} %"
    return f"{value:,.0f}" if value >= 10 or name == "count" else f"{value:.1f}"
