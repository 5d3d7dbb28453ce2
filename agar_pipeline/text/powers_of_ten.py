"""Writes numbers as laboratories do: with few significant digits, and as a multiple of a power of ten.

Here: rounding and writing. Not here: the other numbers of pages (`reports.number_formats`).
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN_FROM, _PLAIN_BELOW = 0.1, 100
_NEARLY = 1e-9


def round_significant(value: float, digits: int = 2) -> Decimal:
    """Round to significant digits, a five upwards, as ISO 7218:2007, 10.3 says.

    >>> round_significant(19_150), round_significant(0.0245)
    (Decimal('1.9E+4'), Decimal('0.025'))
    """
    exact = Decimal(f"{value:.12g}")  # without the error of the last binary digit
    if not exact:
        return Decimal(0)
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    rounded = exact.quantize(unit, ROUND_HALF_UP)
    return rounded.quantize(unit.scaleb(1)) if rounded.adjusted() > exact.adjusted() else rounded


def scientific(value: float) -> str:
    """Write a number with two significant digits, from 100 and below 0.1 as a multiple of a power of ten.

    >>> scientific(19_182), scientific(45.4), scientific(99.6), scientific(0)
    ('1.9 × 10⁴', '45', '1.0 × 10²', '0')
    """
    rounded = round_significant(value)
    if not rounded or _PLAIN_FROM <= rounded < _PLAIN_BELOW:
        return f"{rounded:f}"
    exponent = rounded.adjusted()
    return f"{rounded.scaleb(-exponent):.1f} × {ten_to(exponent)}"


def dilution(value: float) -> str:
    """Write a dilution: as a power of ten if it is one, else in digits.

    >>> dilution(0.001), dilution(0.05), dilution(1.0)
    ('10⁻³', '0.05', 'undiluted')
    """
    if value == 1:
        return "undiluted"
    exponent = round(math.log10(value))
    return ten_to(exponent) if abs(value / 10.0**exponent - 1) < _NEARLY else f"{value:.4g}"


def ten_to(exponent: int) -> str:
    """Write a power of ten.

    >>> ten_to(-3)
    '10⁻³'
    """
    return f"10{str(exponent).translate(_RAISED)}"
