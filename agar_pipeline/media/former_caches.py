"""Finds files of earlier caches that can be reused, so that an unchanged photo is not made or hashed a second time.

The `media.parquet` of each cache records from which photo, and by which recipe, each of its files was made; its
manifest records size, mtime and hash of the file. Here: finding such a file. Not here: making one (`copy_photos`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import MEDIA_TABLE, Manifest
from agar_pipeline.errors import ArtifactError

Origin = tuple[str, str]
"""sha256 of a photo, and the recipe by which a file was made from it."""
IMAGES = "images"
"""Name of the folder of photos in an artifact."""


@dataclass(frozen=True)
class KnownFile:
    """A file with a known hash, which is valid while the file has this size and mtime."""

    path: Path
    size_bytes: int
    mtime_ns: int
    sha256: str

    def is_still(self, path: Path) -> bool:
        """Whether the file at `path` has the recorded size and mtime."""
        found = path.lstat()
        return (found.st_size, found.st_mtime_ns) == (self.size_bytes, self.mtime_ns)

    def to_manifest(self) -> dict[str, Any]:
        return {"size_bytes": self.size_bytes, "mtime_ns": self.mtime_ns, "sha256": self.sha256}


def find_known(roots: Iterable[Path]) -> dict[Origin, KnownFile]:
    """Map each origin to a file of the earlier caches; if there are several, to that of the newest cache."""
    found: dict[Origin, KnownFile] = {}
    for manifest, root in sorted(_with_media(roots), key=lambda item: item[0].created_at):
        files = {file["path"]: file for file in manifest.files if "mtime_ns" in file}
        found |= _of_one(root, files)
    return found


def _with_media(roots: Iterable[Path]) -> Iterable[tuple[Manifest, Path]]:
    for root in roots:
        if (root / MEDIA_TABLE).exists():
            try:
                yield Manifest.read(root), root
            except ArtifactError:  # a damaged cache is not reused
                continue


def _of_one(root: Path, files: Mapping[str, Mapping[str, Any]]) -> dict[Origin, KnownFile]:
    import pandas as pd

    try:
        table = pd.read_parquet(root / MEDIA_TABLE)
        rows = list(zip(table["file_name"], table["source_sha256"], table["recipe"], strict=True))
    except (OSError, ValueError, KeyError):  # removed meanwhile, or damaged
        return {}
    known: dict[Origin, KnownFile] = {}
    for name, source_sha256, recipe in rows:
        file = files.get(f"{IMAGES}/{name}")
        if file is not None:
            path = root / IMAGES / name
            known[source_sha256, recipe] = KnownFile(path, file["size_bytes"], file["mtime_ns"], file["sha256"])
    return known
