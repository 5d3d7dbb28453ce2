"""Numbers the reasons why figures of one table or section are missing, so that each reason is shown once.

Here: numbering. Not here: where the reasons come from (`metric_words`), how a note looks (the templates).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Footnote:
    """A reason, and the number that stands beside each dash that has it."""

    mark: int
    reason: str


def number_reasons(items: Iterable[dict[str, object]]) -> list[Footnote]:
    """Set `mark` in each item whose `reason` is not empty, and return the distinct reasons in order.

    >>> cells = [{"reason": "no box"}, {"reason": ""}, {"reason": "no box"}]
    >>> number_reasons(cells), [cell["mark"] for cell in cells]
    ([Footnote(mark=1, reason='no box')], [1, None, 1])
    """
    marks: dict[object, int] = {}
    for item in items:
        reason = item["reason"]
        item["mark"] = marks.setdefault(reason, len(marks) + 1) if reason else None
    return [Footnote(mark, str(reason)) for reason, mark in marks.items()]
