"""Text from data (names of files, labels, messages of others) on its way to a terminal, a spreadsheet or a shell.

A terminal obeys control characters, a spreadsheet computes cells that begin like a formula, and a shell takes words
apart at blanks. Here: all made plain.
Not here: pages, whose templates escape by themselves, and JSON, which is written exactly.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, TypeVar

T = TypeVar("T")

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of what follows
    "\u2028\u2029\ud800-\udfff]"  # line separators; bytes of a name that are no UTF-8
)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def printable(text: str) -> str:
    """The text with every character that a terminal obeys written out, as `\\x1b`; line feeds and tabs stay."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def as_command(*words: object) -> str:
    """A command that a message proposes: as a shell reads it, whatever blanks and quotes its paths and names have."""
    return shlex.join(map(str, words))


def csv_cell(value: T) -> T | str:
    """A text that a spreadsheet would compute begins with an apostrophe; numbers and all else stay as they are."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def csv_row(row: dict[str, Any]) -> dict[str, Any]:
    """The same of each cell, and of each column's name."""
    return {csv_cell(name): csv_cell(value) for name, value in row.items()}
