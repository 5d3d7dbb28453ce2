"""Explains an error in a YAML file for people who do not know YAML: the place, the problem, the line and the cure.

The parser's messages begin with what it was doing ("while parsing a block mapping") and name the problem after that.
Not here: reading files (`text_files`), values that are valid YAML but not valid for their key (`config.plain_values`).
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from yaml import MarkedYAMLError

_QUOTES = "put the text in quotes"
_CURES = (
    (r"duplicate key", "keep one of the two"),
    (r"\btab\b", "indent with blanks, not with tabs"),
    (r"mapping values", f"{_QUOTES} if it has `: ` in it; otherwise indent the line less"),
    (r"cannot start any token|undefined alias|constructor for the tag|undefined tag|alphabetic", _QUOTES),
    (r"expected ',' or|node content", "close the bracket, or put a text with brackets in quotes"),
    (r"end of stream|document", "close the quote or the bracket"),
    (r"expected ':'", "write `key: value`, with a blank after the colon"),
    (
        r"expected key|block",
        "indent the line as those above, and put a text that begins with a quote completely in quotes",
    ),
    (r"control characters|unacceptable", "remove the characters at this place that cannot be seen"),
)
"""Pattern in a message of PyYAML → what to do. The first one that fits is used."""
_ANY_CURE = "correct this place"
_LONGEST = 60


class YamlFault(NamedTuple):
    """An error in a YAML file; as a text, the problem and the cure with a colon between them."""

    problem: str
    """Place, error and line: `line 3, column 9: found duplicate key S. aureus in 'S. aureus: 2'`."""
    cure: str
    """Next step of an error: `keep one of the two`."""

    def __str__(self) -> str:
        return f"{self.problem}: {self.cure}"


def explain_yaml(error: MarkedYAMLError, text: str | None = None) -> YamlFault:
    """Explain a YAML error.

    Args:
        error: Of any parser of PyYAML.
        text: The text that was parsed; None: the file that the error names.
    """
    problem = " ".join((error.problem or error.context or "the file is not YAML").split())
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return YamlFault(problem, _ANY_CURE)
    line = ""
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = (Path(mark.name).read_text("utf-8-sig") if text is None else text).splitlines()[mark.line]
    if line[mark.column : mark.column + 1] == "\t":
        problem = "found a tab"
    cure = next((words for sign, words in _CURES if re.search(sign, problem)), _ANY_CURE)
    shown = f" in {line.strip()[:_LONGEST]!r}" if line.strip() else ""
    return YamlFault(f"line {mark.line + 1}, column {mark.column + 1}: {problem}{shown}", cure)
