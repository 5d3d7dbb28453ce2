"""Makes text from data (file names, labels, messages) safe for a terminal, a spreadsheet or a shell.

A terminal obeys control characters, a spreadsheet computes cells that begin like a formula, and a shell splits words at
blanks. Here: the three conversions.
Not here: pages, whose templates escape text themselves (`reports.render`), and JSON, which is written exactly.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, TypeVar

T = TypeVar("T")

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of the text that follows
    "\u2028\u2029\ud800-\udfff]"  # line separators; bytes of a name that are not UTF-8
)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def printable(text: str) -> str:
    r"""Replace each character that a terminal obeys by its escape, as `\x1b`. Line feeds and tabs are kept."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def as_command(*words: object) -> str:
    """Quote a command that a message proposes for a shell.

    >>> as_command("chmod", "600", "my keys")
    "chmod 600 'my keys'"
    """
    return shlex.join(map(str, words))


def csv_cell(value: T) -> T | str:
    """Prefix text that a spreadsheet would compute with an apostrophe; return numbers and all other values unchanged.

    >>> csv_cell("=1+1"), csv_cell(2)
    ("'=1+1", 2)
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def csv_row(row: dict[str, Any]) -> dict[str, Any]:
    """Apply `csv_cell` to each cell and each column name."""
    return {csv_cell(name): csv_cell(value) for name, value in row.items()}
