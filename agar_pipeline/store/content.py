"""The hashes that name an artifact (fingerprint, data version), and its manifest.

Not here: whether a published folder is as its manifest says (`faults`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, MACHINE, MANIFEST, Ancestor, Artifact, Manifest
from agar_pipeline.files.disk import sha256_of
from agar_pipeline.ownership.home import is_stray

KnownFiles = Mapping[str, Mapping[str, Any]]
"""Path → size_bytes, mtime_ns and sha256 of a file whose hash is known already."""
RECORDED_PACKAGES = ("agar_pipeline", "dagster", "fiftyone", "torch", "torchvision", "lightning", "hotcoco", "pyarrow")


@dataclass(frozen=True)
class MadeBy:
    """The code of a step: the version that enters the fingerprint, and the details that only the manifest records."""

    code_version: str
    code: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(asset: str, code_version: str, config: Mapping[str, Any], reads: Mapping[str, str]) -> str:
    """Hash all inputs of an artifact; no time, host or path enters the hash.

    Args:
        config: The part of the config that affects the artifact, JSON-ready; the order of its keys is irrelevant.
        reads: Input name → data version of that input, or of the files of it that the step reads.

    Returns:
        32 hex digits.

    >>> len(fingerprint("split", "1", {"seed": 0}, {}))
    32
    >>> fingerprint("split", "1", {"a": 1, "b": 2}, {}) == fingerprint("split", "1", {"b": 2, "a": 1}, {})
    True
    """
    plain = {"asset": asset, "code_version": code_version, "config": config, "inputs": dict(reads)}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Content:
    """The content of an input as hashes: one of the whole, and one per file."""

    data_version: str
    sha256: Mapping[str, str]
    """Path → hash; empty for a source without files."""
    manifest: Manifest | None = field(default=None, repr=False, compare=False)
    """Manifest of the artifact that holds this content, if there is one."""

    @classmethod
    def of_files(
        cls, kind: type[Artifact], files: Iterable[Mapping[str, Any]], manifest: Manifest | None = None
    ) -> Content:
        """Build it from files as `describe_files` returns them; files for which `is_content` is False do not count."""
        sha256 = {file["path"]: file["sha256"] for file in files if kind.is_content(file["path"])}
        return cls(_hash([kind.asset, sorted(sha256.items())]), sha256, manifest)

    @classmethod
    def of(cls, manifest: Manifest) -> Content:
        return cls.of_files(ARTIFACTS[manifest.asset], manifest.files, manifest)

    def read_by(self, consumer: type[Artifact], name: str) -> str:
        """Return the version of the part of this input that `consumer` reads under the name `name`.

        That is the data version if the consumer reads the whole input, else a hash over the files that it reads.
        """
        only = consumer.reads.get(name)
        return self.data_version if only is None else _hash([name, [[path, self.sha256.get(path)] for path in only]])


def _hash(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:32]


def make_manifest(
    kind: type[Artifact],
    draft: Path,
    config: Mapping[str, Any],
    inputs: Mapping[str, Content],
    seconds: float,
    known: KnownFiles | None = None,
    made_by: MadeBy | None = None,
) -> Manifest:
    """Describe a folder that a step has just filled.

    Args:
        kind: Class of the artifact.
        known: Hashes that the step knows already; these files are not read.
        made_by: The code of the step; the default is the code version of `kind`.
    """
    made_by = made_by or MadeBy(kind.code_version)
    files = describe_files(draft, known or {})
    reads = {name: content.read_by(kind, name) for name, content in inputs.items()}
    manifest = Manifest(
        asset=kind.asset,
        fingerprint=fingerprint(kind.asset, made_by.code_version, config, reads),
        data_version=Content.of_files(kind, files).data_version,
        code_version=made_by.code_version,
        config=dict(config),
        inputs={name: content.data_version for name, content in inputs.items()},
        reads=reads,
        files=tuple(files),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        versions=_versions(),
        code=dict(made_by.code),
        machine=json.loads((draft / MACHINE).read_text()) if (draft / MACHINE).exists() else {},
        ancestors=_ancestors(inputs),
    )
    return replace(manifest, checksum=manifest.own_checksum())


def _ancestors(inputs: Mapping[str, Content]) -> dict[str, Ancestor]:
    """Return all ancestors of the inputs, and the inputs themselves.

    If two inputs record different ancestors under one name, the record of the input that comes first in DAG order is
    kept.
    """
    order = list(ARTIFACTS)
    made = {name: content.manifest for name, content in inputs.items() if content.manifest is not None}
    found: dict[str, Ancestor] = {}
    for manifest in sorted(made.values(), key=lambda manifest: -order.index(manifest.asset)):
        found |= manifest.ancestors
    return found | {name: manifest.as_ancestor() for name, manifest in made.items()}


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def artifact_files(root: Path) -> set[str]:
    """Return the files below a folder, relative to it, without the manifest."""
    return set(list_files(root)) - {MANIFEST}


def describe_files(root: Path, known: KnownFiles | None = None) -> list[dict[str, Any]]:
    """Return path, size_bytes and sha256 of every file below a folder, sorted by path.

    The manifest and system files are left out. A file whose size and mtime equal those in `known` is not read; its
    hash is taken from there, and its entry also has mtime_ns.
    """
    known = known or {}
    return describe_named(
        root, sorted(name for name in artifact_files(root) if name in known or not is_stray(name)), known
    )


def describe_named(root: Path, names: Iterable[str], known: KnownFiles) -> list[dict[str, Any]]:
    """Same as `describe_files`, for these files only, in this order."""
    found: dict[str, dict[str, Any]] = {}
    unknown = []
    for name in names:
        file, before = os.lstat(f"{root}/{name}"), known.get(name)
        found[name] = {"path": name, "size_bytes": file.st_size}
        if before is not None and (before["size_bytes"], before["mtime_ns"]) == (file.st_size, file.st_mtime_ns):
            found[name] |= {"sha256": before["sha256"], "mtime_ns": file.st_mtime_ns}
        else:
            unknown.append(name)
    with ThreadPoolExecutor() as pool:
        for name, sha256 in zip(unknown, pool.map(lambda name: sha256_of(root / name), unknown), strict=True):
            found[name]["sha256"] = sha256
    return list(found.values())


def list_files(root: Path) -> list[str]:
    """Return paths relative to the folder, sorted; no Path objects, since there may be thousands of images."""
    cut = len(f"{root}/")
    names = [f"{folder}/{name}"[cut:] for folder, _, files in os.walk(root) for name in files]
    return sorted(names)
