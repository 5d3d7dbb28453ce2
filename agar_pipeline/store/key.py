"""What names an artifact, and where what belongs to it lies: its lock files, the folders beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, Artifact
from agar_pipeline.store.content import KnownFiles

Log = Callable[[str], None]
Write = Callable[[Path], KnownFiles | None]
"""Fills an empty folder; may say what it knows of files, so that they need not be hashed."""


@dataclass(frozen=True)
class Key:
    """Names an asset; `experiment` where it belongs to one."""

    asset: str
    experiment: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.experiment, self.asset) if self.experiment else (self.asset,)

    @property
    def kind(self) -> type[Artifact]:
        return ARTIFACTS[self.asset]

    def __str__(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True)
class Built:
    """An artifact, and whether it was there already."""

    artifact: Any
    cached: bool
    why: str
    """Why it was built, or that nothing changed."""


def artifacts_in(home: Path) -> Path:
    """The folder of a home that holds all artifacts."""
    return home / "artifacts"


def folder_of(home: Path, key: Key) -> Path:
    """The folder that holds the artifacts of one asset, one folder per fingerprint."""
    return artifacts_in(home).joinpath(*key.parts)


def latest_of(home: Path, key: Key) -> Path | None:
    """The artifact that `latest` of an asset points to, or None; not verified."""
    link = folder_of(home, key) / "latest"
    return link.resolve() if link.exists() else None


def writer_lock(root: Path) -> Path:
    """Held exclusively by whoever builds, quarantines or drops an artifact."""
    return root.with_name(f".{root.name}.lock")


def use_lock(root: Path) -> Path:
    """Held shared by whoever reads an artifact, exclusively by whoever drops it."""
    return root.with_name(f".{root.name}.use")


def folders_in(parent: Path) -> list[Path]:
    """Those that are no `latest`, and no draft."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "latest")
