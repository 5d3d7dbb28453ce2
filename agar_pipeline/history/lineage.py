"""Finds snapshots, and follows an artifact back to the snapshot that it was made from.

Here: reading the store's manifests.
Not here: building artifacts, or finding out whether one is stale, following one image (`photo_history`).
Manifests record the content of their inputs. Artifacts with equal content cannot be told apart; all are returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, Artifact, Manifest, Snapshot
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Content, Key, Store, find_faults
from agar_pipeline.text.name_list import name_some

SHORTEST_PREFIX = 4
"""Minimum number of letters of a fingerprint that name a snapshot; they must also be unique."""
_SHOWN = 6


@dataclass(frozen=True)
class LineageEntry:
    """One published artifact."""

    key: Key
    root: Path
    manifest: Manifest
    is_latest: bool

    def read_by(self, consumer: LineageEntry, name: str) -> str:
        """Return the version of what the step of `consumer` reads of this artifact, its input `name`."""
        return Content.of(self.manifest).read_by(consumer.key.kind, name)

    def to_plain(self) -> dict[str, Any]:
        return {
            "asset": self.key.asset,
            "experiment": self.key.experiment,
            "fingerprint": self.manifest.fingerprint,
            "data_version": self.manifest.data_version,
            "created_at": self.manifest.created_at,
            "latest": self.is_latest,
            "path": str(self.root),
        }


class Catalog:
    """All published artifacts of a store, newest first; their manifests are read once, in the constructor."""

    def __init__(self, store: Store) -> None:
        records = []
        for root in store.published():
            try:
                manifest = Manifest.read(root)
            except ArtifactError:
                continue  # damaged: reported by `agar plan` and `agar verify`
            key = Key(manifest.asset, *root.relative_to(store.artifacts).parts[:-2])
            if manifest.asset in ARTIFACTS:
                records.append(LineageEntry(key, root.resolve(), manifest, store.latest(key) == root.resolve()))
        self.records = sorted(records, key=_age, reverse=True)

    def of(self, asset: str) -> list[LineageEntry]:
        return [record for record in self.records if record.key.asset == asset]

    def inputs_of(self, record: LineageEntry, name: str) -> list[LineageEntry]:
        """Return the artifacts whose content is recorded as this input; several if their contents are equal.

        Equal smoke runs of different COCO caches are common; those with the same other inputs are preferred.
        """
        own = record.manifest.inputs
        equal = [r for r in self.records if str(r.key) == name and r.manifest.data_version == own.get(name)]
        agreeing = [r for r in equal if all(r.manifest.inputs.get(key, own[key]) == own[key] for key in own)]
        return agreeing or equal

    def record_of(self, root: Path) -> LineageEntry:
        for record in self.records:
            if record.root == root.resolve():
                return record
        raise ArtifactError(
            "is not a published artifact of this home",
            where=root,
            next_step="give a folder below `artifacts` of the home, one that `agar run` has finished",
        )


def find_snapshot(store: Store, word: str) -> Snapshot:
    """Find the snapshot that a word names.

    Args:
        word: `latest`; `previous`, the newest other snapshot of the same dataset; a fingerprint or its first letters;
            or a folder, in this home or another.

    Raises:
        ArtifactError: there is none, there are several, or it is damaged. The message lists the existing ones.
    """
    records = Catalog(store).of("snapshot")
    if word in ("latest", "previous"):
        root = _latest(records, store).root if word == "latest" else _previous(records, store).root
    else:
        named = [r for r in records if len(word) >= SHORTEST_PREFIX and r.manifest.fingerprint.startswith(word)]
        if len(named) > 1:
            raise ArtifactError(
                "begins several fingerprints",
                where=repr(word),
                next_step=f"give more letters of one of them: {_listed(named)}",
            )
        if not named and not Path(word).is_dir():
            raise ArtifactError(
                "names no snapshot: it is neither latest, previous, a folder, nor the beginning of a fingerprint",
                where=repr(word),
                next_step=f"name one of those that were built: {_listed(records)}",
            )
        root = named[0].root if named else Path(word)
    snapshot: Snapshot = Snapshot.open(root)
    faults = find_faults(snapshot.root)
    if faults:
        raise ArtifactError(
            f"is damaged: {faults[0]}",
            where=f"snapshot {snapshot.root}",
            next_step=f"build it again (agar run snapshot), or name another one: {_listed(records)}",
        )
    return snapshot


def lineage(store: Store, artifact: Artifact) -> list[LineageEntry]:
    """Return the artifact and everything that it was made from, back to the snapshot; nearest first.

    A step that reads only some files of an input may have been built from an older version with the same files. It is
    then linked to the version that the rest of the lineage names.

    Raises:
        ArtifactError: the artifact is not in this store.
    """
    catalog = Catalog(store)
    found = [catalog.record_of(artifact.root)]
    for record in found:  # the list grows during the loop
        for name in record.manifest.inputs:
            read = record.manifest.reads.get(name)
            if not any(str(other.key) == name and other.read_by(record, name) == read for other in found):
                found += [other for other in catalog.inputs_of(record, name) if other not in found]
    order = [*reversed(ARTIFACTS)]
    return sorted(found, key=lambda record: order.index(record.key.asset))


def chain_of(store: Store, artifact: Artifact) -> dict[str, LineageEntry]:
    """Return asset → what an artifact was made from, including itself.

    Of several with equal content, the one that the artifact's manifest names is returned, else the newest.
    """
    named = {ancestor.fingerprint for ancestor in artifact.manifest.ancestors.values()}
    chain: dict[str, LineageEntry] = {}
    for record in lineage(store, artifact):
        if record.key.asset not in chain or record.manifest.fingerprint in named:
            chain[record.key.asset] = record
    return chain


def _age(record: LineageEntry) -> tuple[str, int]:
    return record.manifest.created_at, (record.root / "manifest.json").stat().st_mtime_ns


def _latest(records: Iterable[LineageEntry], store: Store) -> LineageEntry:
    for record in records:
        if record.is_latest:
            return record
    raise ArtifactError(
        "holds no snapshot",
        where=f"the home {store.home}",
        next_step="build one (agar run snapshot), or set AGAR_HOME to another home",
    )


def _previous(records: list[LineageEntry], store: Store) -> LineageEntry:
    latest = _latest(records, store)
    dataset = latest.manifest.config["dataset"]
    for record in records:
        if record != latest and record.manifest.config["dataset"] == dataset:
            return record
    raise ArtifactError(
        "has no previous snapshot: only one was built",
        where=f"dataset {dataset!r}",
        next_step=f"name one of those that were built: {_listed(records)}",
    )


def _listed(records: list[LineageEntry]) -> str:
    lines = [
        f"{r.manifest.fingerprint[:12]} ({r.manifest.config['dataset']}, {r.manifest.created_at[:16]})" for r in records
    ]
    return name_some(lines, _SHOWN) or "none"
