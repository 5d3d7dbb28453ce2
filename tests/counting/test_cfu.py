"""Colony-forming units from counts: worked examples of the standards, each rule, and what the interval promises."""

from __future__ import annotations

import numpy as np
import pytest

from agar_pipeline.counting.agreement import chance_of, g_squared
from agar_pipeline.counting.cfu import SampleEstimate, estimate_sample, garwood_limits
from agar_pipeline.counting.plate_count import PlateCount
from agar_pipeline.text.powers_of_ten import dilution, scientific

ISO = (10, 300)
OVER, UNDER = "more than 250 colonies", "fewer than 25 colonies"


def estimate(
    counts: dict[float, list[int]], countable: tuple[int, int] = (25, 250), volume_ml: float = 1.0
) -> SampleEstimate:
    """Of plates with the same volume: dilution → counts."""
    return estimate_sample([PlateCount(d, volume_ml, c) for d, each in counts.items() for c in each], countable)


@pytest.mark.parametrize(
    ("counts", "countable", "by_hand", "reported"),
    [
        pytest.param({1e-2: [168, 215], 1e-3: [14, 25]}, ISO, 422 / 0.022, "1.9 × 10⁴", id="ISO 7218, two plates each"),
        pytest.param({1e-2: [168], 1e-3: [14]}, ISO, 182 / 0.011, "1.7 × 10⁴", id="ISO 7218, one plate each"),
        pytest.param({1e-2: [232, 244], 1e-3: [33, 28]}, (25, 250), 537 / 0.022, "2.4 × 10⁴", id="BAM, chapter 3"),
        pytest.param({1e-2: [235, 282], 1e-3: [31, 39]}, (30, 300), 587 / 0.022, "2.7 × 10⁴", id="ISO 21149, 12.3.3"),
        pytest.param({1e-1: [38, 42]}, (30, 300), 80 / 0.2, "4.0 × 10²", id="ISO 21149, 12.3.1"),
        pytest.param(
            {1e-3: [102], 1e-4: [8]},
            (8, 300),
            110 / 0.0011,
            "1.0 × 10⁵",
            id="ISO/TS 19036, example 1, its second plate has 8",
        ),
    ],
)
def test_worked_examples_of_the_standards(
    counts: dict[float, list[int]], countable: tuple[int, int], by_hand: float, reported: str
) -> None:
    found = estimate(counts, countable)
    assert found.cfu_per_ml == pytest.approx(by_hand)
    assert scientific(by_hand) == reported
    assert (found.relation, found.estimate, found.warnings) == ("", "", ())
    assert not any(found.reasons)
    assert found.low < by_hand < found.high  # type: ignore[operator]


def test_volumes_and_steps_may_differ() -> None:
    plates = [PlateCount(0.25, 0.1, 120), PlateCount(0.25, 0.2, 230), PlateCount(0.05, 0.5, 118)]
    assert estimate_sample(plates).cfu_per_ml == pytest.approx((120 + 230 + 118) / (0.025 + 0.05 + 0.025))


def test_plates_outside_the_range_and_other_dilutions_are_left_out_with_the_reason() -> None:
    found = estimate({1e-1: [900], 1e-2: [240, 251], 1e-3: [26, 24], 1e-4: [30]})
    assert found.cfu_per_ml == pytest.approx((240 + 26) / 0.011)
    assert [reason.partition(",")[0] for reason in found.reasons] == [
        OVER, "", OVER, "", UNDER, "only dilution 10⁻² and the next one enter"
    ]  # fmt: skip
    unread = estimate_sample([PlateCount(1e-2, 1.0, 100), PlateCount(1e-3, 1.0, None)])
    assert (unread.cfu_per_ml, unread.reasons) == (pytest.approx(1e4), ("", "the photo could not be read"))
    nothing = estimate_sample([PlateCount(1e-2, 1.0, None)])
    assert (nothing.cfu_per_ml, nothing.low) == (None, None)


@pytest.mark.parametrize(
    ("counts", "relation", "by_hand", "why"),
    [
        ({1e-1: [18, 20], 1e-2: [2, 0]}, "", 40 / 0.22, "no plate has the 25 colonies"),
        ({1e-1: [2, 1], 1e-2: [0, 0]}, "<", 4 / 0.2, "colonies are present, but fewer than 4"),
        ({1e-1: [0], 1e-2: [0]}, "<", 1 / 0.1, "no plate has a colony"),
        ({1e-1: [900], 1e-2: [300, 350]}, ">", 250 / 0.01, "more than 250 colonies"),
        ({1e-1: [260], 1e-2: [20]}, "", 20 / 0.01, "no plate has the 25 colonies"),
        ({1e-1: [900], 1e-2: [1]}, ">", 250 / 0.1, "more than 250 colonies"),
        ({1e-1: [900, 2]}, ">", 250 / 0.1, "more than 250 colonies"),
    ],
    ids=[
        "few colonies are an estimated number",
        "fewer than four are less than four",
        "none is less than one",
        "too many are more than the range",
        "too many, then few: the few are used",
        "too many, then nearly none: the few are not believed",
        "nor are they on a parallel plate",
    ],
)
def test_without_a_countable_plate_the_number_is_an_estimate(
    counts: dict[float, list[int]], relation: str, by_hand: float, why: str
) -> None:
    found = estimate(counts)
    assert (found.relation, found.cfu_per_ml) == (relation, pytest.approx(by_hand))
    assert why in found.estimate
    assert (found.high is None) is (relation == ">"), "a number above the range has no upper end"


def test_the_limits_are_those_of_published_tables() -> None:
    """Garwood's table of 1936, for 95 %."""
    for count, low, high in ((0, 0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39), (50, 37.11, 65.92)):
        assert garwood_limits(count, count, 0.95) == (pytest.approx(low, rel=2e-3), pytest.approx(high, rel=2e-3))


def test_the_interval_holds_what_it_promises_and_grows_with_that_of_the_counts() -> None:
    rng, held = np.random.default_rng(0), []
    for truth in 10 ** rng.uniform(2.5, 5, 600):
        plates = [PlateCount(d, 1.0, int(rng.poisson(truth * d))) for d in (1e-1, 1e-1, 1e-2, 1e-2, 1e-3, 1e-3)]
        found = estimate_sample(plates)
        held.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(held) <= 0.99
    sure, unsure = PlateCount(1e-2, 1.0, 100), PlateCount(1e-2, 1.0, 100, 90, 115)
    low, high = garwood_limits(90, 115, 0.95)
    assert estimate_sample([unsure]).low == pytest.approx(low / 1e-2)
    assert estimate_sample([unsure]).high == pytest.approx(high / 1e-2)
    assert estimate_sample([unsure]).cfu_per_ml == estimate_sample([sure]).cfu_per_ml


@pytest.mark.parametrize(
    ("plates", "words"),
    [
        ([(1e-2, 100), (1e-3, 60)], "dilution 10⁻³ has 60 colonies, against 10 expected from dilution 10⁻²"),
        ([(1e-2, 900), (1e-3, 20)], "dilution 10⁻³ has 20 colonies, against 90 expected"),
        ([(1e-2, 200), (1e-3, 400)], "dilution 10⁻³ has 400 colonies, against 20 expected"),
        ([(1e-2, 40), (1e-2, 120)], "the plates of dilution 10⁻² differ by more than chance explains: 40, 120"),
        ([(1e-2, 100), (1e-3, 16)], ""),
        ([(1e-2, 400), (1e-3, 60)], ""),  # colonies merge on a crowded plate
        ([(1e-2, 400), (1e-2, 600)], ""),
        ([(1e-2, 40, 35, 70), (1e-2, 120, 80, 125)], ""),  # errors of counting are allowed for
        ([(1e-2, 0), (1e-3, 0)], ""),
    ],
)
def test_counts_that_contradict_each_other_are_named(plates: list[tuple[float, int]], words: str) -> None:
    found = estimate_sample([PlateCount(plate[0], 1.0, *plate[1:]) for plate in plates])
    assert len(found.warnings) == bool(words)
    assert words in "".join(found.warnings)


def test_the_index_of_agreement_is_the_likelihood_ratio() -> None:
    """By hand: 2 · (20 · ln(20/30) + 40 · ln(40/30)); and χ² with one degree of freedom is 3.84 in 5 % of cases."""
    assert g_squared([20, 40], [1, 1]) == pytest.approx(2 * (20 * np.log(20 / 30) + 40 * np.log(40 / 30)))
    assert g_squared([100, 10], [1.0, 0.1]) == pytest.approx(0)
    assert chance_of(3.841, 1) == pytest.approx(0.05, abs=1e-4)


def test_numbers_are_written_as_laboratories_do() -> None:
    written = {
        19_150.0: "1.9 × 10⁴",
        19_500.0: "2.0 × 10⁴",
        99.5: "1.0 × 10²",
        9.96: "10",
        0.0: "0",
        3e-4: "3.0 × 10⁻⁴",
    }
    assert {value: scientific(value) for value in written} == written
    assert scientific(0.115 / 1e-5) == "1.2 × 10⁴", "a five is rounded upwards in spite of binary fractions"
    assert [dilution(value) for value in (1e-5, 0.25, 1.0)] == ["10⁻⁵", "0.25", "undiluted"]
