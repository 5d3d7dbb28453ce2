"""The key of an artifact, and the paths of its folder and its lock files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, Artifact
from agar_pipeline.store.content import KnownFiles

Write = Callable[[Path], KnownFiles | None]
"""Fills an empty folder; may return hashes that it knows already, so that these files need not be hashed."""


@dataclass(frozen=True)
class Key:
    """Names an asset, and the experiment if the asset belongs to one.

    >>> str(Key("leaderboard")), str(Key("evaluation", "baseline"))
    ('leaderboard', 'baseline/evaluation')
    """

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
    """An artifact, and whether it existed before."""

    artifact: Any
    cached: bool
    why: str
    """Why it was built, or that nothing changed."""


def artifacts_in(home: Path) -> Path:
    return home / "artifacts"


def folder_of(home: Path, key: Key) -> Path:
    """Return the folder that holds the artifacts of one asset, in one folder per fingerprint."""
    return artifacts_in(home).joinpath(*key.parts)


def latest_of(home: Path, key: Key) -> Path | None:
    """Return the artifact that `latest` of an asset points to, or None; it is not verified."""
    link = folder_of(home, key) / "latest"
    return link.resolve() if link.exists() else None


def writer_lock(root: Path) -> Path:
    """Return the lock file that a process holds exclusively while it builds, quarantines or drops an artifact."""
    return root.with_name(f".{root.name}.lock")


def use_lock(root: Path) -> Path:
    """Return the lock file that readers of an artifact hold shared, and a process that drops it holds exclusively."""
    return root.with_name(f".{root.name}.use")


def folders_in(parent: Path) -> list[Path]:
    """Return the subfolders except `latest` and hidden ones (drafts), sorted."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "latest")
