"""A photo on its way into a cache, and what became of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agar_pipeline.media.earlier import KnownFile, Origin
from agar_pipeline.media.shrink import RECIPE

OWN_MEDIA = Literal["link", "copy", "resize"]
LINKED = "linked"
COPIED = "copied"


@dataclass(frozen=True)
class Photo:
    """One image of the cache."""

    name: str
    """Its `file_name`: relative to the source folder, and to the new one."""
    sha256: str
    """As the snapshot saw it."""
    size_bytes: int
    size_wh: tuple[int, int]
    target_wh: tuple[int, int]

    def origin(self, media: OWN_MEDIA) -> Origin:
        width, height = self.target_wh
        recipe = {"link": LINKED, "copy": COPIED, "resize": f"{RECIPE}-{width}x{height}"}[media]
        return self.sha256, recipe


@dataclass
class Placed:
    """What came of it."""

    files: dict[str, KnownFile] = field(default_factory=dict)
    """By `file_name`."""
    made: int = 0
    reused: int = 0
    """Linked to a file of a former cache, or to another photo of the same content."""
    not_linked: int = 0
    """Copied where a link was wanted: another file system, or one without links."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())
