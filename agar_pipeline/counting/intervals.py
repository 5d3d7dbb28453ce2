"""States an interval in which the true count of a plate lies with a given probability: split conformal prediction.

The plates of val, whose true counts are known, say how far a predicted count p is from the true one. The distance is
divided by a spread that grows with p as a power of p + 1 (`Spread`), so that one figure serves sparse and full plates.
The interval of another plate reaches as far as the k-th smallest of the n quotients, k = ⌈(n + 1)·coverage⌉, times its
own spread. If the plates of val and the other plate are a random sample of the same plates, the true count lies within
with the stated probability, whatever the detector and the distribution of its errors: Vovk, Gammerman & Shafer,
"Algorithmic Learning in a Random World" (2005); Lei et al., "Distribution-Free Predictive Inference for Regression",
JASA 113 (2018), with the quotient as their locally weighted residual. What is fitted to val besides (the threshold of
the counts, the power of the spread) is fitted for each plate without it, as in the jackknife+ (Barber et al., Annals of
Statistics 49, 2021). Each band of the predicted count that has enough plates is calibrated by itself (Vovk's
Mondrian conformal prediction), so that the probability holds on sparse and on full plates.

Counts are whole numbers, so several plates can have the same quotient; an interval then holds the true count more often
than stated. Here: intervals. Not here: the predicted counts of val, from thresholds that were chosen without the plate
(`threshold`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agar_pipeline.scoring.counting import DENSITIES, by_density

LEAST_POWER, MOST_POWER = 0.1, 1.0
"""At a power of 0 plates with the same error would have the same quotient, and intervals hold more often than stated:
94 % in place of 90 % in a simulation of sparse plates, 92.6 % with 0.1."""
_TOLERANCE = 1e-9
"""Rounding error that is allowed in a bound: a whole number that was divided by a spread and multiplied by it again."""


@dataclass(frozen=True)
class Spread:
    """How the error of a count grows with the predicted count p: ((p + 1) / typical) to the power."""

    typical: float
    """Geometric mean of p + 1 on val."""
    power: float

    def of(self, predicted: np.ndarray) -> np.ndarray:
        """(N,) of (N,) predicted counts; 1 at the typical count."""
        return ((predicted + 1) / self.typical) ** self.power


@dataclass(frozen=True)
class Band:
    """The predicted counts from `least` up to the next band, and how far the intervals reach there."""

    least: int
    reach: float
    """The interval of a predicted count p is p ± reach·spread(p), its bounds rounded to whole numbers inside."""
    plates: int
    """Plates of val in this band."""


@dataclass(frozen=True)
class IntervalCoverage:
    """How many plates had their true count within the interval of their predicted count."""

    plates: int
    covered: int
    mean_width: float
    """Mean of highest − lowest, colonies."""
    per_density: Mapping[str, float]
    """Name of the density, by the true count → share of its plates; densities without a plate are left out."""


@dataclass(frozen=True)
class CountIntervals:
    """The intervals that were calibrated on val."""

    coverage: float
    """Stated probability that the true count lies within."""
    bands: tuple[Band, ...]
    """Ascending; empty where val has too few plates."""
    reason: str | None = None
    """Why there is no interval."""
    spread: Spread = Spread(1.0, 0.5)
    on_val: IntervalCoverage | None = None
    """On val itself: each plate by the interval that the other plates calibrate. About the stated share is within by
    construction; this shows how wide the intervals are, and at which densities plates lie outside."""

    def of(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Lowest and highest true counts, (N,) int64 each, of plates with (N,) predicted counts; None: no interval.

        >>> CountIntervals(0.9, (Band(0, 0.5, 40),)).of(np.array([0, 27]))
        (array([ 0, 25]), array([ 0, 29]))
        """
        if not self.bands:
            return None
        places = np.searchsorted([band.least for band in self.bands], predicted, side="right") - 1
        return _bounds(predicted, np.array([band.reach for band in self.bands])[places] * self.spread.of(predicted))

    def to_plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CountIntervals:
        bands, held = tuple(Band(**band) for band in plain["bands"]), plain["on_val"]
        return cls(
            plain["coverage"], bands, plain["reason"], Spread(**plain["spread"]), held and IntervalCoverage(**held)
        )


def plates_needed(coverage: float) -> int:
    """The number of plates on which an interval can be calibrated: three of them are expected outside of it.

    >>> plates_needed(0.9), plates_needed(0.95)
    (30, 60)
    """
    return math.ceil(round(3 / (1 - coverage), 6))  # 3 / (1 - 0.9) is a little over 30


def fit_intervals(predicted: np.ndarray, true: np.ndarray, coverage: float) -> CountIntervals:
    """Calibrate intervals on plates with known counts.

    >>> predicted = np.arange(1, 61)
    >>> fit_intervals(predicted, predicted + 2, coverage=0.9).of(np.array([30]))
    (array([28]), array([32]))

    Args:
        predicted: (N,) counts, each from a threshold that was chosen without the plate.
        true: (N,) annotated counts.
        coverage: Probability to state.
    """
    needed = plates_needed(coverage)
    if len(true) < needed:
        few = f"too few plates on val: {len(true)}; at least {needed} are needed for {100 * coverage:g} %"
        return CountIntervals(coverage, (), few)
    spread, without_own = _fit_spread(predicted, true)
    quotients, bands = np.abs(true - predicted) / without_own, []
    for least, rows in _bands(predicted, needed):
        reach = np.sort(quotients[rows])[_rank(len(rows), coverage) - 1]
        bands.append(Band(least, float(reach), len(rows)))
    held = measure_coverage(intervals_without_own(predicted, true, coverage), true)
    return CountIntervals(coverage, tuple(bands), None, spread, held)


def interval_metrics(
    intervals: CountIntervals, predicted: np.ndarray, true: np.ndarray, *, is_val: bool
) -> dict[str, Any] | None:
    """What metrics.json says about the intervals of N plates; None where there are none.

    Args:
        intervals: Calibrated on val.
        predicted: (N,) counts.
        true: (N,) annotated counts.
        is_val: These are the plates that the intervals were calibrated on.
    """
    bounds = intervals.of(predicted)
    if bounds is None or not len(true):
        return None
    held = intervals.on_val if is_val and intervals.on_val else measure_coverage(bounds, true)
    how = "each plate of val by the other plates of val" if is_val else "calibrated on val"
    return {"coverage": intervals.coverage, **dataclasses.asdict(held), "how": how}


def measure_coverage(bounds: tuple[np.ndarray, np.ndarray], true: np.ndarray) -> IntervalCoverage:
    """Compare intervals with the (N,) true counts of their plates, N of at least 1."""
    low, high = bounds
    within = (low <= true) & (true <= high)
    shares = {name: float(within[rows].mean()) for name, rows in by_density(true).items() if rows.any()}
    return IntervalCoverage(len(true), int(within.sum()), float((high - low).mean()), shares)


def intervals_without_own(predicted: np.ndarray, true: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """The interval of each of N plates as the other plates of its band calibrate it; N of at least `plates_needed`."""
    _, spread = _fit_spread(predicted, true)
    quotients, reach = np.abs(true - predicted) / spread, np.zeros(len(true))
    for _, rows in _bands(predicted, plates_needed(coverage)):
        order = rows[np.argsort(quotients[rows], kind="stable")]
        rank = _rank(len(rows) - 1, coverage)
        reach[order] = quotients[order[rank - 1]]
        reach[order[:rank]] = quotients[order[rank]]  # without one of these, the next quotient moves up to their rank
    return _bounds(predicted, reach * spread)


def _fit_spread(predicted: np.ndarray, true: np.ndarray) -> tuple[Spread, np.ndarray]:
    """The spread of all N plates, and (N,) of each plate with the power that the other plates give.

    The power is the slope of a straight line through log(|true − predicted| + ½) over log(p + 1), by least squares.
    """
    x, y = np.log(predicted + 1), np.log(np.abs(true - predicted) + 0.5)
    typical = float(np.exp(x.mean()))
    of_all = np.array([len(x), x.sum(), y.sum(), (x * x).sum(), (x * y).sum()])
    powers = _slope(*(of_all[:, None] - [np.ones(len(x)), x, y, x * x, x * y]))
    return Spread(typical, float(_slope(*of_all[:, None])[0])), ((predicted + 1) / typical) ** powers


def _slope(n: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Of least squares, from sums; ½ where all x are equal."""
    varied = n * xx - x * x
    slope = np.divide(n * xy - x * y, varied, out=np.full(len(n), 0.5), where=varied > _TOLERANCE * n)
    return np.clip(slope, LEAST_POWER, MOST_POWER)


def _bounds(predicted: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.ceil(predicted - width - _TOLERANCE), np.floor(predicted + width + _TOLERANCE)
    return np.maximum(0, low).astype(np.int64), high.astype(np.int64)


def _rank(plates: int, coverage: float) -> int:
    return math.ceil(round((plates + 1) * coverage, 6))


def _bands(predicted: np.ndarray, needed: int) -> list[tuple[int, np.ndarray]]:
    """Least predicted count and rows of each band: neighbouring densities, merged until each has enough plates."""
    starts = [0]
    for least, _, _ in DENSITIES[2:]:  # plates without a predicted colony belong to the sparse ones
        inside = np.count_nonzero((predicted >= starts[-1]) & (predicted < least))
        if inside >= needed and np.count_nonzero(predicted >= least) >= needed:
            starts.append(least)
    places = np.searchsorted(starts, predicted, side="right")
    return [(least, np.flatnonzero(places == place)) for place, least in enumerate(starts, start=1)]
