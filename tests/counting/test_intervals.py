"""An interval contains the true count as often as stated, and the intervals of a perfect detector have no width."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agar_pipeline.counting.intervals import (
    CountIntervals,
    IntervalCoverage,
    fit_intervals,
    intervals_without_own,
    plates_needed,
)


def plates(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true counts: each plate has its own share of found colonies, and some false ones."""
    rng = np.random.default_rng(seed)
    true = rng.lognormal(np.log(30), 1.1, count).astype(np.int64)
    return rng.binomial(true, rng.beta(18, 2, count)) + rng.poisson(1, count), true


def bounds_of(intervals: CountIntervals, *predicted: int) -> tuple[list[int], list[int]]:
    bounds = intervals.of(np.array(predicted))
    assert bounds is not None
    assert bounds[0].dtype == bounds[1].dtype == np.int64
    return bounds[0].tolist(), bounds[1].tolist()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("calibrated_on", [60, 300])
def test_the_true_count_lies_within_as_often_as_stated(coverage: float, calibrated_on: int) -> None:
    held = []
    for seed in range(200):
        predicted, true = plates(calibrated_on + 100, seed)
        bounds = fit_intervals(predicted[:-100], true[:-100], coverage).of(predicted[-100:])
        assert bounds is not None
        held.append(((bounds[0] <= true[-100:]) & (true[-100:] <= bounds[1])).mean())
    assert abs(np.mean(held) - coverage) < 0.03


def test_on_full_plates_it_holds_as_often_as_on_sparse_ones() -> None:
    rng = np.random.default_rng(0)
    predicted = np.repeat([10, 60, 200], 200)
    true = predicted + rng.integers(-1, 2, 600) * np.repeat([0, 4, 60], 200)  # errors do not grow with √p
    intervals = fit_intervals(predicted, true, 0.9)
    assert [(band.least, band.plates) for band in intervals.bands] == [(0, 200), (31, 200), (101, 200)]
    assert bounds_of(intervals, 10, 60, 200) == ([10, 56, 140], [10, 64, 260])


@pytest.mark.parametrize("power", [0.2, 0.5, 0.9])
def test_the_spread_grows_as_the_errors_do_and_by_what_other_plates_say(power: float) -> None:
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 30, 4000)
    true = predicted + np.round(rng.normal(0, 20, 4000) * (predicted + 1) ** power).astype(np.int64)
    intervals = fit_intervals(predicted, true, 0.9)
    assert intervals.spread.power == pytest.approx(power, abs=0.05)
    without = intervals_without_own(predicted, true, 0.9)
    true[7] += 10**9  # its own error is no part of its interval; those of others move one rank, out of 4000
    again = intervals_without_own(predicted, true, 0.9)
    assert again[1][7] == pytest.approx(without[1][7], rel=0.05)


def test_bands_with_few_plates_are_merged_with_their_neighbours() -> None:
    predicted = np.repeat([5, 60, 200, 400], [29, 40, 30, 29])
    bands = fit_intervals(predicted, predicted, 0.9).bands
    assert [(band.least, band.plates) for band in bands] == [(0, 69), (101, 59)]


def test_a_perfect_detector_has_intervals_without_width() -> None:
    _, true = plates(100, seed=1)
    for bounds in (fit_intervals(true, true, 0.9).of(true), intervals_without_own(true, true, 0.9)):
        assert bounds is not None
        assert bounds[0].tolist() == bounds[1].tolist() == true.tolist()


@pytest.mark.parametrize(("count", "coverage", "needed"), [(0, 0.9, 30), (29, 0.9, 30), (59, 0.95, 60)])
def test_too_few_plates_give_no_interval_and_say_how_many_are_needed(count: int, coverage: float, needed: int) -> None:
    predicted, true = plates(count, seed=2)
    intervals = fit_intervals(predicted, true, coverage)
    assert intervals.of(np.array([27])) is intervals.on_val is None
    words = f"too few plates on val: {count}; at least {needed} are needed for {100 * coverage:g} %"
    assert (intervals.reason, plates_needed(coverage)) == (words, needed)
    assert fit_intervals(*plates(needed, seed=2), coverage).of(np.array([27])) is not None


def test_bounds_are_whole_numbers_from_zero_that_include_the_errors_of_val() -> None:
    predicted = np.arange(40)
    low, high = bounds_of(fit_intervals(predicted, predicted + 3, 0.9), *range(300))
    assert min(low) == 0
    assert all(one <= count <= other for count, (one, other) in enumerate(zip(low, high, strict=True)))
    assert (low[3], high[3]) == (0, 6), "its error of 3 is the 37th of 40 quotients, and is 3 again"
    assert high[2] == 4, "the least plates of all, with the largest quotients, are outside"


@pytest.mark.parametrize("count", [30, 31, 90, 150])
def test_leaving_a_plate_out_is_calibrating_on_the_others(count: int) -> None:
    rng = np.random.default_rng(count)
    predicted = rng.permutation(np.arange(count) % 30)  # one band, so that leaving one out merges nothing
    true = predicted + rng.integers(-3, 4, count)  # errors that do not grow, so that the least power is fitted to all
    bounds = intervals_without_own(predicted, true, 0.9)
    for row in range(count):
        others = np.delete(np.arange(count), row)
        if len(others) < plates_needed(0.9):
            continue
        expected = fit_intervals(predicted[others], true[others], 0.9).of(predicted[[row]])
        assert expected is not None
        assert (bounds[0][row], bounds[1][row]) == (expected[0][0], expected[1][0])


def test_each_plate_of_val_has_the_interval_that_the_other_plates_calibrate() -> None:
    true = np.repeat([0, 20, 400], [10, 80, 30])
    predicted = true + np.repeat([0, 2, 0], [10, 80, 30])
    held = fit_intervals(predicted, true, 0.9).on_val
    assert held == IntervalCoverage(120, 120, (80 * 4 + 10) / 120, {"0": 1.0, "1-30": 1.0, "over 300": 1.0})
    predicted[0] = 30  # the only one as wrong: the others do not reach as far
    held = fit_intervals(predicted, true, 0.9).on_val
    assert held is not None
    assert (held.covered, held.per_density) == (119, {"0": 0.9, "1-30": 1, "over 300": 1})


def test_intervals_survive_json() -> None:
    for intervals in (fit_intervals(*plates(200, seed=3), 0.9), fit_intervals(*plates(3, seed=3), 0.9)):
        assert CountIntervals.from_plain(json.loads(json.dumps(intervals.to_plain()))) == intervals
