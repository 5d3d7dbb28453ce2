"""The draft folder of a command: its files are written here first and moved to their place at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agar_pipeline.ownership.made_list import MadeList


@dataclass
class Draft:
    """The files to be published, under `root`, with the names that they will have."""

    root: Path
    place: Path
    """The folder that they will be moved to."""
    made: MadeList
    """The files in `place` that this software made so far."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Name → sha256 of files whose hash is known, so that they are not read again."""
    links: dict[str, str] = field(default_factory=dict)
    """Hard links of originals: name → the original."""
    same: set[str] = field(default_factory=set)
    """Our files that already exist in `place` and are not changed."""
    kept: list[str] = field(default_factory=list)
    """After the block: files of an earlier run that were not removed, because a person changed them."""

    def path(self, name: str) -> Path:
        """Return the path to write a file to; its folder is created."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, name: str, sha256: str) -> bool:
        """Keep an existing file of ours with this content and no other hard link; return whether it is kept."""
        path = self.place / name
        known = self.made.files.get(name, ())
        fits = any(file.sha256 == sha256 and file.link_of is None and file.is_still(path) for file in known)
        if fits and path.lstat().st_nlink == 1:
            self.same.add(name)
        return name in self.same

    def keep_link(self, name: str, source: Path) -> bool:
        """Keep the existing file if it is a hard link of this source, made by us; return whether it is kept."""
        path = self.place / name
        if self.made.is_ours(self.place, name) and path.samefile(source):
            self.same.add(name)
        return name in self.same
