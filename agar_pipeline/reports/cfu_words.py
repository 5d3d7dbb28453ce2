"""How the colony-forming units of a sample are written: on its page, in the table of samples, and on the terminal."""

from __future__ import annotations

from agar_pipeline.counting.cfu import SampleEstimate
from agar_pipeline.counting.samples import PlateReading
from agar_pipeline.text.powers_of_ten import scientific


def written(estimate: SampleEstimate) -> str:
    """Write colony-forming units per ml with two significant digits.

    >>> written(SampleEstimate(19_182.0)), written(SampleEstimate(10.0, "<", estimate="no plate has a colony"))
    ('1.9 × 10⁴', '< 10')
    """
    if estimate.cfu_per_ml is None:
        return "not known"
    return f"{estimate.relation} {scientific(estimate.cfu_per_ml)}".strip()


def interval(estimate: SampleEstimate) -> str:
    """Write the interval; a dash if there is none."""
    if estimate.low is None or estimate.high is None:
        return "–"
    return f"{scientific(estimate.low)} – {scientific(estimate.high)}"


def count_words(reading: PlateReading | None) -> str:
    """Write the count of a plate with its interval.

    >>> count_words(PlateReading(27, 24, 30)), count_words(PlateReading(27))
    ('27 (24–30)', '27')
    """
    if reading is None:
        return "not counted"
    return str(reading.count) if reading.low is None else f"{reading.count} ({reading.low}–{reading.high})"
