"""Which images are in which list or part: what reading them returns, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ListCount:
    """What became of one list."""

    tag: str
    entries: int = 0
    tagged: int = 0
    left_out: list[str] = field(default_factory=list)
    """Of plates that are there, but uncountable."""
    unknown: list[str] = field(default_factory=list)
    """Of no image of the folder."""
    ambiguous: list[str] = field(default_factory=list)
    """Of several images of the folder."""


@dataclass
class Membership:
    """Which images are in which list."""

    tags: dict[str, set[str]] = field(default_factory=dict)
    """Name of an image → its tags."""
    counts: list[ListCount] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
