"""Damaged artifacts, and foreign files found in artifacts, that were moved into the `quarantine` folder of a home.

An artifact that turns out to be intact is published again. Intact checkpoints and files that are not ours are not
removed unless a person asks for it.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from agar_pipeline.artifacts import ARTIFACTS, Manifest
from agar_pipeline.errors import ArtifactError
from agar_pipeline.files import locks
from agar_pipeline.files.disk import sha256_of
from agar_pipeline.store.faults import find_faults, foreign_files
from agar_pipeline.store.key import Key, artifacts_in, folder_of, writer_lock

QUARANTINED = re.compile(
    rf"(?:(?P<experiment>.+)-)?(?P<asset>{'|'.join(ARTIFACTS)})-(?P<fingerprint>[0-9a-f]{{32}})-\d+"
)
"""Matches the name of a folder that `Store.quarantine` moved."""


def set_foreign_aside(home: Path, root: Path) -> Path | None:
    """Move foreign files out of an artifact, if its own files are intact.

    Returns:
        The folder where they lie now; None if nothing was moved, because there are none or the artifact is damaged.
    """
    if not root.is_dir() or find_faults(root, thorough=True, foreign=False):
        return None
    names = foreign_files(root, Manifest.read(root))
    if not names:
        return None
    name = f"{'-'.join(root.relative_to(artifacts_in(home)).parts)}-{time.time_ns()}"
    aside = home / "quarantine" / "foreign" / name
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(aside / name)
    return aside


def put_back(home: Path) -> list[Path]:
    """Publish quarantined artifacts again whose own files are intact; foreign files in them are moved aside.

    Returns:
        The published folders.
    """
    found = []
    for aside in _entries(home):
        named = QUARANTINED.fullmatch(aside.name)
        if named is None or not aside.is_dir():
            continue
        key = Key(named["asset"], named["experiment"])
        root = folder_of(home, key) / named["fingerprint"]
        if find_faults(aside, thorough=True, foreign=False, name=root.name):
            continue
        root.parent.mkdir(parents=True, exist_ok=True)
        with locks.free(writer_lock(root)) as is_free:
            if is_free and not root.exists():
                aside.rename(root)
                set_foreign_aside(home, root)
                found.append(root)
    return found


def find_guarded(home: Path) -> dict[Path, str]:
    """Return the quarantined paths that are dropped only if the user names them, each with the reason."""
    return {path: why for path in _entries(home) if (why := why_guarded(path))}


def why_guarded(path: Path) -> str | None:
    """Return why a path in quarantine is to be kept; None if it is the useless remains of an artifact."""
    if not path.is_dir() or not QUARANTINED.fullmatch(path.name):
        return "it was not written by agar"
    try:
        manifest = Manifest.read(path)
    except ArtifactError:
        return "its manifest cannot be read, so that it may hold files that agar did not write"
    foreign = foreign_files(path, manifest)
    if foreign:
        return f"{foreign[0]} in it was not written by agar"
    for file in manifest.files:
        if file["path"].endswith(".ckpt") and _is_as_written(path / file["path"], file["sha256"]):
            return f"{file['path']} in it is intact"
    return None


def _is_as_written(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def _entries(home: Path) -> list[Path]:
    folder = home / "quarantine"
    return sorted(Path(entry.path) for entry in os.scandir(folder)) if folder.is_dir() else []
