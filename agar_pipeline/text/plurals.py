"""Writes a count with its noun, in the singular for 1."""

from __future__ import annotations


def plural(count: int, one: str, many: str | None = None) -> str:
    """Format a count with its noun and other words that depend on it; `many` is `one` with an s by default.

    >>> plural(3, "box", "boxes"), plural(1, "photo is", "photos are"), plural(4431, "photo")
    ('3 boxes', '1 photo is', '4,431 photos')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
