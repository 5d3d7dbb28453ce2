"""Types for the result of reading training lists or parts: the tags of each image, and counts for each list."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ListCount:
    """Counts of the entries of one list or part."""

    tag: str
    entries: int = 0
    tagged: int = 0
    left_out: list[str] = field(default_factory=list)
    """Entries of images that exist but are not imported, for instance because they are uncountable."""
    unknown: list[str] = field(default_factory=list)
    """Entries that match no image of the folder."""
    ambiguous: list[str] = field(default_factory=list)
    """Entries that match several images of the folder, and images in several parts."""


@dataclass
class Membership:
    """Tags that lists or parts give to images, with counts and problems."""

    tags: dict[str, set[str]] = field(default_factory=dict)
    """Name of an image → its tags."""
    counts: list[ListCount] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
