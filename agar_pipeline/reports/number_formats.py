"""Formats numbers for pages: digits, signs, units, and a dash for what was not computed."""

from __future__ import annotations

import math
from typing import Any


def is_null(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    try:
        return math.isnan(value)
    except TypeError:
        return False


def whole(value: Any) -> str:
    """Format an integer.

    >>> whole(4431), whole(None)
    ('4,431', '–')
    """
    return "–" if is_null(value) else f"{int(value):,}"


def score(value: Any) -> str:
    """Format a metric in [0, 1] with three digits."""
    return "–" if is_null(value) else f"{float(value):.3f}"


def number(value: Any) -> str:
    """Format a number with three significant digits, from 1000 with one decimal; whole numbers in full, text as it is.

    >>> number(0.12345), number(1234.56), number(-3.0)
    ('0.123', '1,234.6', '−3')
    """
    if is_null(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    value = float(value)
    if value.is_integer():
        return f"{int(value):,}".replace("-", "\N{MINUS SIGN}")
    return (f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")


def percent(value: Any) -> str:
    """Format a share in [0, 1] as per cent.

    >>> percent(0.1234), percent(0.00123)
    ('12.3 %', '0.12 %')
    """
    return "–" if is_null(value) else percent_points(float(value) * 100)


def percent_points(value: Any) -> str:
    """Format a value that is in per cent."""
    if is_null(value):
        return "–"
    points = float(value)
    return (
        f"{points:.0f} %" if points == 0 or points >= 99.95 else f"{points:.1f} %" if points >= 1 else f"{points:.2g} %"
    )


def signed(value: Any) -> str:
    if is_null(value):
        return "–"
    text = number(value)
    return text.replace("-", "−") if float(value) <= 0 else f"+{text}"
