"""Finds counts of one sample that contradict each other, which a mean would hide.

Parallel plates of a dilution should have the same number of colonies, and the numbers of two consecutive dilutions
should have the ratio of the amounts of sample on their plates. Both are tested by the index of ISO 14461-2:2005, clause
7, the likelihood ratio G² = 2 · Σ cᵢ · ln(cᵢ / eᵢ) of the counts and their expectations; by chance alone it is
distributed as χ² with one degree of freedom less than there are counts.

A count with an interval enters as the number in it that is nearest to the expectation, so that an error of counting
within the interval causes no warning. The counts of plates above the countable range are too low, because colonies
merge. A thinner suspension with more colonies than such a plate predicts is therefore no contradiction.

Here: the tests, and their words. Not here: the estimate (`cfu`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from agar_pipeline.counting.plate_count import PlateCount
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.powers_of_ten import dilution

CHANCE = 0.01
"""A warning is given if chance alone makes so large a difference more rarely than this."""


def disagreements(plates: Sequence[PlateCount], most: int) -> tuple[str, ...]:
    """Say which plates of a sample contradict each other.

    Args:
        plates: All of the sample; those that could not be read are passed over.
        most: Largest count of a countable plate.
    """
    read = [plate for plate in plates if plate.count is not None]
    steps = [[p for p in read if p.dilution == d] for d in sorted({p.dilution for p in read}, reverse=True)]
    return (*_of_parallel_plates(steps, most), *_of_dilutions(steps, most))


def g_squared(counts: Sequence[float], amounts: Sequence[float]) -> float:
    """Return G² of counts that should be as the amounts of sample.

    >>> round(g_squared([20, 40], [1, 1]), 2)
    6.8
    """
    seen, expected = np.asarray(counts, float), _expected(counts, amounts)
    there = seen > 0
    return max(0.0, float(2 * np.sum(seen[there] * np.log(seen[there] / expected[there]))))


def chance_of(index: float, freedom: int) -> float:
    """Return how often chance alone makes a G² of this size or more.

    >>> round(chance_of(6.8, freedom=1), 4)
    0.0091
    """
    from scipy.special import chdtrc

    return float(chdtrc(freedom, index))


def _expected(counts: Sequence[float], amounts: Sequence[float]) -> np.ndarray:
    shares = np.asarray(amounts, float)
    return np.sum(counts) * shares / shares.sum()


def _of_parallel_plates(steps: Sequence[Sequence[PlateCount]], most: int) -> Iterator[str]:
    for plates in steps:
        if len(plates) < 2 or all(p.colonies > most for p in plates):
            continue
        chance = _chance([[p] for p in plates])
        if chance < CHANCE:
            counts = ", ".join(str(p.count) for p in plates)
            yield (
                f"the plates of dilution {dilution(plates[0].dilution)} differ by more than chance explains: "
                f"{counts} colonies ({_words(chance)})"
            )


def _of_dilutions(steps: Sequence[Sequence[PlateCount]], most: int) -> Iterator[str]:
    for thick, thin in pairwise(steps):
        seen, sample = sum(p.colonies for p in thin), sum(p.sample_ml for p in thin)
        expected = sum(p.colonies for p in thick) * sample / sum(p.sample_ml for p in thick)
        crowded = [any(p.colonies > most for p in plates) for plates in (thick, thin)]
        if all(crowded) or (crowded[0] and seen > expected):
            continue
        chance = _chance([thick, thin])
        if chance < CHANCE:
            yield (
                f"dilution {dilution(thin[0].dilution)} has {plural(seen, 'colony', 'colonies')}, against "
                f"{expected:.0f} expected from dilution {dilution(thick[0].dilution)}: more than chance explains "
                f"({_words(chance)}); check dilutions and volumes"
            )


def _chance(groups: Sequence[Sequence[PlateCount]]) -> float:
    """How often chance alone makes groups of plates differ as much, with the counts that fit best within intervals."""
    amounts = [sum(p.sample_ml for p in plates) for plates in groups]
    counts = [sum(p.colonies for p in plates) for plates in groups]
    lows = [sum(p.least for p in plates) for plates in groups]
    highs = [sum(p.most for p in plates) for plates in groups]
    fitting = np.clip(_expected(counts, amounts), lows, highs)
    return chance_of(g_squared(fitting.tolist(), amounts), len(groups) - 1)


def _words(chance: float) -> str:
    return f"p {'< 0.001' if chance < 0.001 else f'= {chance:.3f}'}"
