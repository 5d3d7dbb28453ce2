"""From the counts of a sample's plates to its colony-forming units per ml: the weighted mean of ISO 7218:2007, 10.3.

The standard divides the sum of the colonies on plates of two consecutive dilutions by the amount of sample on them:
N = ΣC / (V · (n₁ + 0.1 · n₂) · d), with the volume V on each plate, n₁ plates of the first dilution d and n₂ plates of
the next, ten times thinner one. The same with any volumes and any steps is N = ΣC / Σ(Vᵢ · dᵢ).

Which plates enter (`estimate_sample`):

- Plates with a count in the countable range: those of the least diluted suspension that has one, and of the next
  suspension of the sheet. Of parallel plates within and without the range, those within enter, as in the FDA's
  Bacteriological Analytical Manual, chapter 3. (ISO 7218 lets all plates of the second dilution enter.)
- If no plate is in the range, those below it, in the same way. From four colonies on, the outcome is an estimated
  number. With one to three it is "less than 4 / (V · d)", with none "less than 1 / (V · d)", where V · d is the sample
  on the plates of the first of the two dilutions.
- If all plates are above the range, or if those below it have fewer than four colonies and a plate that is not thinner
  is above it: "more than the upper limit / (V · d)" of the most diluted plates that are above the range.

The interval holds the exact limits of Garwood (1936) for a Poisson sum, divided by Σ(Vᵢ · dᵢ). If plates have intervals
of their counts, the sum of their lower ends enters the lower limit and that of their upper ends the upper limit. So it
covers the random number of cells on a plate, and errors of counting; it holds more often than `level` says where
errors of counting cancel out. It does not cover errors of volumes and dilutions, clumps of cells, nor the difference
between portions of the product (ISO 19036 adds these from a laboratory's own trials). "Less than" is the standard's
wording, not a limit of confidence; its interval can end higher.

Here: arithmetic with numbers. Not here: the sheet (`sheet`), plates that contradict each other (`agreement`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from agar_pipeline.counting.agreement import disagreements
from agar_pipeline.counting.plate_count import PlateCount
from agar_pipeline.text.powers_of_ten import dilution

LEVEL = 0.95
"""Of the interval; ISO 19036 states an uncertainty with this level too."""
FEWEST_ESTIMATED = 4
"""Colonies; below, ISO 7218:2007, 10.3 states no number."""


@dataclass(frozen=True)
class SampleEstimate:
    """The colony-forming units of a sample."""

    cfu_per_ml: float | None
    """Not rounded; None: no plate could be read."""
    relation: str = ""
    """`<` or `>` where `cfu_per_ml` is a limit."""
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    colonies: int = 0
    """On the plates that entered."""
    estimate: str = ""
    """Why the number is an estimate only; empty if it is none."""
    reasons: tuple[str, ...] = ()
    """For each plate, in the given order: why it did not enter; empty if it did."""
    warnings: tuple[str, ...] = ()
    """Counts that contradict each other."""


def estimate_sample(
    plates: Sequence[PlateCount], countable: tuple[int, int] = (25, 250), level: float = LEVEL
) -> SampleEstimate:
    """Compute the colony-forming units per ml of a sample from its plates.

    >>> plates = [PlateCount(1e-2, 1.0, 232), PlateCount(1e-2, 1.0, 244), PlateCount(1e-3, 1.0, 33)]
    >>> found = estimate_sample(plates)
    >>> found.colonies, round(found.cfu_per_ml), round(found.low), round(found.high)
    (509, 24238, 22178, 26438)

    Args:
        plates: All of one sample, in any order.
        countable: Smallest and largest count of a countable plate, both inclusive.
        level: Of the interval.
    """
    read = [plate for plate in plates if plate.count is not None]
    warnings = disagreements(plates, countable[1])
    inside = _entering([p for p in read if countable[0] <= p.colonies <= countable[1]], read)
    below = _entering([p for p in read if p.colonies < countable[0]], read)
    above = [p for p in read if p.colonies > countable[1]]
    few = sum(p.colonies for p in below) < FEWEST_ESTIMATED
    if not read:
        return SampleEstimate(None, level=level, reasons=_reasons(plates, [], countable))
    if inside:
        found = _weighted_mean(inside, level)
    elif below and not (few and any(p.dilution >= below[0].dilution for p in above)):
        found = _low_number(below, countable[0], level)
    else:
        found = _high_number(above, countable[1], level)
    used, estimate = found
    return replace(estimate, reasons=_reasons(plates, used, countable), warnings=warnings)


def garwood_limits(low_sum: int, high_sum: int, level: float) -> tuple[float, float]:
    """Exact limits of the expectation of a Poisson count (Garwood, Biometrika 28, 1936).

    >>> low, high = garwood_limits(10, 10, 0.95)
    >>> round(low, 2), round(high, 2)
    (4.8, 18.39)

    Args:
        low_sum: The count, or its lower end.
        high_sum: The count, or its upper end.
        level: Share of counts whose expectation lies within, at least.
    """
    from scipy.special import gammaincinv

    tail = (1 - level) / 2
    low = float(gammaincinv(low_sum, tail)) if low_sum else 0.0
    return low, float(gammaincinv(high_sum + 1, 1 - tail))


def _entering(candidates: Sequence[PlateCount], read: Sequence[PlateCount]) -> list[PlateCount]:
    """Those of the least diluted suspension that has one, and of the next; least diluted first."""
    if not candidates:
        return []
    first = max(p.dilution for p in candidates)
    second = max((p.dilution for p in read if p.dilution < first), default=first)
    return sorted((p for p in candidates if p.dilution in (first, second)), key=lambda p: -p.dilution)


def _weighted_mean(plates: Sequence[PlateCount], level: float) -> tuple[Sequence[PlateCount], SampleEstimate]:
    colonies, sample_ml = sum(p.colonies for p in plates), sum(p.sample_ml for p in plates)
    lows = sum(p.least for p in plates)
    highs = sum(p.most for p in plates)
    low, high = garwood_limits(lows, highs, level)
    estimate = SampleEstimate(
        colonies / sample_ml, low=low / sample_ml, high=high / sample_ml, level=level, colonies=colonies
    )
    return plates, estimate


def _low_number(plates: Sequence[PlateCount], least: int, level: float) -> tuple[Sequence[PlateCount], SampleEstimate]:
    _, mean = _weighted_mean(plates, level)
    if mean.colonies >= FEWEST_ESTIMATED:
        return plates, replace(mean, estimate=f"no plate has the {least} colonies of a countable one")
    limit = FEWEST_ESTIMATED if mean.colonies else 1
    first_ml = sum(p.sample_ml for p in plates if p.dilution == plates[0].dilution)
    why = f"colonies are present, but fewer than {FEWEST_ESTIMATED}" if mean.colonies else "no plate has a colony"
    return plates, replace(mean, cfu_per_ml=limit / first_ml, relation="<", estimate=why)


def _high_number(plates: Sequence[PlateCount], most: int, level: float) -> tuple[Sequence[PlateCount], SampleEstimate]:
    thinnest = min(p.dilution for p in plates)
    used = [p for p in plates if p.dilution == thinnest]
    limit = most * len(used) / sum(p.sample_ml for p in used)
    why = f"the most diluted plates above the range have more than {most} colonies"
    return used, SampleEstimate(limit, ">", level=level, colonies=sum(p.colonies for p in used), estimate=why)


def _reasons(plates: Sequence[PlateCount], used: Collection[PlateCount], countable: tuple[int, int]) -> tuple[str, ...]:
    entered = {id(plate) for plate in used}
    return tuple("" if id(plate) in entered else _reason(plate, used, countable) for plate in plates)


def _reason(plate: PlateCount, used: Collection[PlateCount], countable: tuple[int, int]) -> str:
    if plate.count is None:
        return "the photo could not be read"
    if plate.count > countable[1]:
        return f"more than {countable[1]} colonies, the upper limit of the range"
    if plate.count < countable[0]:
        return f"fewer than {countable[0]} colonies, the lower limit of the range"
    return f"only dilution {dilution(max(p.dilution for p in used))} and the next one enter"
