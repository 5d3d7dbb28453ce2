"""Joins names for a message: the first ones, and the number of the others."""

from __future__ import annotations

from collections.abc import Sequence


def name_some(names: Sequence[str], most: int = 10) -> str:
    """Join at most `most` names, and append the number of the others.

    >>> name_some(["1.jpg", "2.jpg"]), name_some(["1.jpg", "2.jpg", "3.jpg", "4.jpg"], most=2)
    ('1.jpg, 2.jpg', '1.jpg, 2.jpg and 2 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
