"""Reads the cells of a sheet: dilutions and volumes as people write them, where they can mean one thing only.

Here: from a text to a number, or why not. Not here: rows and columns (`sheet`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agar_pipeline.text.unplaced_error import UnplacedError

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_POWER = re.compile(r"10\^?([-−⁻]?)([\d⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_FRACTION = re.compile(r"1\s*/\s*(\d+)")
_THOUSAND = re.compile(r"[1-9]\d{0,2}([.,]\d{3})+")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")


class CellError(UnplacedError):
    """A cell has no number, or one that can be read in two ways."""


def read_dilution(text: str) -> float:
    """Read a dilution, the share of the sample that is in the suspension.

    >>> [read_dilution(text) for text in ("1e-3", "0,001", "10^-3", "10⁻³", "1/1000", "1")]
    [0.001, 0.001, 0.001, 0.001, 0.001, 1.0]
    """
    if ":" in text:
        raise CellError(
            "can be one part in that many or one part and that many", next_step="write 1e-3 or 1/1000, for example"
        )
    if fraction := _FRACTION.fullmatch(text):
        value = 1 / int(fraction[1]) if int(fraction[1]) else 0.0
    elif (power := _POWER.fullmatch(text)) and ("^" in text or text.translate(_LOWERED) != text):
        exponent = int(power[2].translate(_LOWERED))
        value = float(f"1e{'-' if power[1] else ''}{exponent}")
    else:
        value = _number(text, "write 1e-3, 0.001, 10^-3 or 1/1000, for example")
    if value <= 0:
        raise CellError("is not above 0", next_step="write the share of the sample, such as 1e-3")
    if value > 1:
        raise CellError("is above 1", next_step=f"write the share of the sample, such as 1/{value:.0f}; 1 is undiluted")
    return value


def read_volume_ml(text: str, *, with_unit: bool) -> float:
    """Read a volume in ml.

    Args:
        with_unit: Whether the cell must end with `ml`, because the column does not say so.

    >>> read_volume_ml("0,1 ml", with_unit=True), read_volume_ml("0.1", with_unit=False)
    (0.1, 0.1)
    """
    number = re.sub(r"\s*ml$", "", text, flags=re.IGNORECASE)
    if with_unit and number == text:
        raise CellError("has no unit", next_step="name the column volume_ml, or write the unit: 0.1 ml")
    value = _number(number, "write it in ml, such as 0.1")
    if value <= 0:
        raise CellError("is not above 0", next_step="write how many ml of the suspension are on the plate, such as 0.1")
    return value


READERS: dict[str, Callable[[str], float]] = {
    "dilution": read_dilution,
    "volume_ml": lambda text: read_volume_ml(text, with_unit=False),
    "volume": lambda text: read_volume_ml(text, with_unit=True),
}
"""Column → how its cells are read."""


def _number(text: str, next_step: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise CellError("is empty" if not text else "is not a number", next_step=next_step)
    if _THOUSAND.fullmatch(text):
        raise CellError(
            "can be a decimal fraction or thousands", next_step="write it without a comma or a point, or as 1e-3"
        )
    return float(text.replace(",", "."))
