"""Files on their way into a folder: what a command writes before anything is put into its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agar_pipeline.ownership.made import MadeList


@dataclass
class Draft:
    """The files to be, under `root` by the names that they will have."""

    root: Path
    place: Path
    """The folder that they are for."""
    made: MadeList
    """What we made there so far."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of files whose hash is known, so that they are not read again."""
    links: dict[str, str] = field(default_factory=dict)
    """Hard links of originals: name → the original."""
    same: set[str] = field(default_factory=set)
    """Files of ours that are there already and stay as they are."""
    kept: list[str] = field(default_factory=list)
    """After the block: files of an earlier time that a person changed, and that were therefore not removed."""

    def path(self, name: str) -> Path:
        """Where to write a file; its folder is made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, name: str, sha256: str) -> bool:
        """Whether a file of this content is there already, made by us and with no other name: then it stays."""
        path = self.place / name
        known = self.made.files.get(name, ())
        fits = any(file.sha256 == sha256 and file.link_of is None and file.is_still(path) for file in known)
        if fits and path.lstat().st_nlink == 1:
            self.same.add(name)
        return name in self.same

    def keep_link(self, name: str, source: Path) -> bool:
        """Whether a hard link of this file is there already, made by us: then it stays."""
        path = self.place / name
        if self.made.is_ours(self.place, name) and path.samefile(source):
            self.same.add(name)
        return name in self.same
