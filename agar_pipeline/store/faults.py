"""Finds the faults of a published folder: altered, missing or foreign files, and a manifest that does not fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import MANIFEST, Manifest
from agar_pipeline.errors import ArtifactError
from agar_pipeline.ownership.home import is_stray
from agar_pipeline.store.content import Content, artifact_files, describe_named, fingerprint, list_files


def find_faults(root: Path, *, thorough: bool = False, foreign: bool = True, name: str | None = None) -> list[str]:
    """Return all faults of a published folder: altered, missing or foreign files, and a manifest that does not fit.

    Files that file managers and file systems create (`.DS_Store`, `.nfs…`) are ignored. Images are hashed only if
    their size or mtime differs from the manifest. All other files are hashed once per process, and again after any
    file of the folder has changed.

    Args:
        thorough: Hash every file, images too.
        foreign: Report other files that are not part of the artifact.
        name: The fingerprint, for a folder that is not named by it.
    """
    try:
        stamps = _stamps(root)
        if not thorough and _found_sound.get(root) == stamps:
            return []
        faults = list(_faults(root, Manifest.read(root), thorough, foreign, name or root.name))
        if not faults and foreign:
            _found_sound[root] = stamps
        return faults
    except ArtifactError as error:
        return [error.problem]
    except OSError as error:
        return [f"{error.filename or root} cannot be read: {error.strerror}"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [f"{root.name}/{MANIFEST} was altered on disk: {error!r}"]


_found_sound: dict[Path, list[tuple[Any, ...]]] = {}
"""Folder → stamps of its files at the time when this process found no faults. The stamps include the ctimes, which no
program can set back."""


def _stamps(root: Path) -> list[tuple[Any, ...]]:
    return [
        (name, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)
        for name in list_files(root)
        for file in [os.lstat(f"{root}/{name}")]
    ]


def _faults(root: Path, manifest: Manifest, thorough: bool, foreign: bool, name: str) -> Iterable[str]:
    recorded = {file["path"]: file for file in manifest.files}
    known = {} if thorough else {path: file for path, file in recorded.items() if "mtime_ns" in file}
    wanted = {path: _without_mtime(file) for path, file in recorded.items()}
    found = {
        file["path"]: _without_mtime(file)
        for file in describe_named(root, sorted(artifact_files(root) & wanted.keys()), known)
    }
    yield from (f"{root.name}/{path} is missing" for path in sorted(wanted.keys() - found.keys()))
    if foreign:
        yield from (f"{root.name}/{path} does not belong there" for path in foreign_files(root, manifest))
    for path in sorted(wanted.keys() & found.keys()):
        if wanted[path] != found[path]:
            yield f"{root.name}/{path} was altered on disk"
    fault = find_lie(manifest, name, files_fit=found == wanted)
    if fault:
        yield f"{root.name}/{MANIFEST} was altered on disk: {fault}"


def foreign_files(root: Path, manifest: Manifest) -> list[str]:
    """Return the files below an artifact's folder that its manifest does not list; system files are ignored."""
    own = {file["path"] for file in manifest.files}
    return sorted(name for name in artifact_files(root) - own if not is_stray(name))


def find_lie(manifest: Manifest, name: str, *, files_fit: bool = True) -> str | None:
    """Return how a manifest contradicts itself or the fingerprint `name` that it is stored under, or None."""
    own = fingerprint(manifest.asset, manifest.code_version, manifest.config, manifest.reads)
    if own != manifest.fingerprint or own != name:
        return f"its fingerprint should be {own}"
    if files_fit and Content.of(manifest).data_version != manifest.data_version:
        return "its data version does not fit its files"
    if manifest.checksum != manifest.own_checksum():
        return f"its checksum should be {manifest.own_checksum()}"
    return None


def _without_mtime(file: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in file.items() if name != "mtime_ns"}
