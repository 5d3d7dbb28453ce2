"""Types for a photo that is put into a cache, and for the result for all photos."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agar_pipeline.media.former_caches import KnownFile, Origin
from agar_pipeline.media.shrink import RECIPE

OWN_MEDIA = Literal["link", "copy", "resize"]
LINKED = "linked"
COPIED = "copied"


@dataclass(frozen=True)
class Photo:
    """One photo of the cache."""

    name: str
    """Its `file_name`, relative to both the source folder and the cache's folder."""
    sha256: str
    """Hash of the file in the snapshot."""
    size_bytes: int
    size_wh: tuple[int, int]
    """Displayed width and height in the snapshot, pixels."""
    target_wh: tuple[int, int]
    """Width and height of the copy, pixels."""

    def origin(self, media: OWN_MEDIA) -> Origin:
        """Return the photo's hash and the recipe by which its file in the cache is made."""
        width, height = self.target_wh
        recipe = {"link": LINKED, "copy": COPIED, "resize": f"{RECIPE}-{width}x{height}"}[media]
        return self.sha256, recipe


@dataclass
class PlacedPhotos:
    """Files and counts of the photos that were put into a cache."""

    files: dict[str, KnownFile] = field(default_factory=dict)
    """`file_name` → file in the cache."""
    made: int = 0
    reused: int = 0
    """Photos linked to a file of an earlier cache, or to another photo with the same content."""
    not_linked: int = 0
    """Photos copied instead of linked, because source and cache are on different file systems, or one without links."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())
