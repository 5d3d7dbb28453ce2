"""Checks that all inputs of a node were made from the same version of every ancestor that they share.

The comparison uses the manifests: what an artifact read of each of its inputs, and what each ancestor read of its own
inputs. Here: finding two inputs that do not belong together.
Not here: which inputs a node has (`nodes`), where they are found (`current`).

If two inputs agree on an ancestor, the ancestors of that ancestor are not compared. Example: an image that is in no
part changes the snapshot but not the COCO cache. Artifacts made from either cache then belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from agar_pipeline.artifacts import ARTIFACTS, Artifact
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Content, Key

_ORDER = list(ARTIFACTS)


def require_agreement(wanted: Key, inputs: Mapping[Key, Artifact]) -> None:
    """Refuse inputs that do not belong together.

    Args:
        wanted: What would be made from them; the message names it.
        inputs: Artifacts that are used together.

    Raises:
        ArtifactError: names two inputs, and the ancestor of which they have different versions.
    """
    if conflict := find_conflict(wanted, inputs):
        raise conflict


def find_conflict(wanted: Key, inputs: Mapping[Key, Artifact]) -> ArtifactError | None:
    """Return the error for two inputs that do not belong together; None if all agree.

    It names the ancestor in which they differ, and the command that builds `wanted` and its inputs.
    """
    sides = [_Side.of(str(key), artifact) for key, artifact in inputs.items()]
    reading = {side.name: {side.name} for side in sides}
    differing: list[tuple[str, _Side, _Side]] = []
    for name in _nearest_first(sides):
        holders = [
            (side, version) for side in sides if (version := side.version_of(name, reading[side.name])) is not None
        ]
        own = [holder for holder in holders if holder[0].name == name]
        pairs = product(own, holders) if own else combinations(holders, 2)  # what agrees with it agrees with each other
        apart = next(((one, other) for (one, a), (other, b) in pairs if not a.agrees(b, name)), None)
        if apart:
            differing.append((name, *apart))
        itself = [side for side, _ in holders if side.name == name]
        for side in [side for side, _ in holders] if apart else (itself or [side for side, _ in holders])[:1]:
            reading[side.name].add(name)
    return _explain(wanted, differing, {side.name for side in sides}) if differing else None


@dataclass(frozen=True)
class _Version:
    """The version of an ancestor that one input was made from."""

    data_version: str
    read_by: Mapping[str, str]
    """Artifact between the ancestor and the input that reads the ancestor → hash of what it read."""
    itself: Content | None
    """Set if the input is that ancestor."""

    def agrees(self, other: _Version, name: str) -> bool:
        if self.data_version == other.data_version:
            return True
        for artifact, readers in ((self.itself, other.read_by), (other.itself, self.read_by)):
            if artifact is not None:
                return all(artifact.read_by(_kind(reader), name) == read for reader, read in readers.items())
        mine, theirs = self._read_by_assets(), other._read_by_assets()
        both = mine.keys() & theirs.keys()
        return bool(both) and all(mine[asset] == theirs[asset] for asset in both)

    def _read_by_assets(self) -> dict[str, set[str]]:
        """Asset → what its artifacts read of it, over all experiments: two smoke runs read the same."""
        read: dict[str, set[str]] = {}
        for reader, what in self.read_by.items():
            read.setdefault(_asset(reader), set()).add(what)
        return read


@dataclass(frozen=True)
class _Side:
    """One input, and what it and its ancestors read."""

    name: str
    root: Path
    content: Content
    reads: Mapping[str, Mapping[str, str]]
    """The input and each ancestor → what it read of each of its own inputs."""
    data_versions: Mapping[str, str]

    @classmethod
    def of(cls, name: str, artifact: Artifact) -> _Side:
        manifest = artifact.manifest
        reads = {other: ancestor.reads for other, ancestor in manifest.ancestors.items()}
        versions = {other: ancestor.data_version for other, ancestor in manifest.ancestors.items()}
        own = {name: manifest.data_version, **manifest.inputs}
        return cls(name, artifact.root, Content.of(manifest), {**reads, name: manifest.reads}, {**versions, **own})

    def version_of(self, name: str, reading: set[str]) -> _Version | None:
        """Return the version of an ancestor; None if no artifact in `reading` reads it.

        That is the case if this input depends on the ancestor only through artifacts that are known to agree.
        """
        if name == self.name:
            return _Version(self.content.data_version, {}, self.content)
        read_by = {reader: self.reads[reader][name] for reader in reading if name in self.reads.get(reader, {})}
        return _Version(self.data_versions[name], read_by, None) if read_by else None


def _nearest_first(sides: list[_Side]) -> Iterator[str]:
    """Yield all names, each before its inputs."""
    names = {name for side in sides for reads in (side.reads, *side.reads.values()) for name in reads}
    known = [name for name in names if _asset(name) in ARTIFACTS]
    yield from sorted(known, key=lambda name: (-_ORDER.index(_asset(name)), name))


def _asset(name: str) -> str:
    return name.rpartition("/")[2]


def _kind(name: str) -> type[Artifact]:
    return ARTIFACTS[_asset(name)]


def _explain(wanted: Key, differing: list[tuple[str, _Side, _Side]], inputs: set[str]) -> ArtifactError:
    """Name the difference that explains the others, preferably one in an input, and the ancestors that cause it."""
    chosen = max((at for at, (name, _, _) in enumerate(differing) if name in inputs), default=len(differing) - 1)
    name, one, other = differing[chosen]
    behind = ", ".join(ancestor for ancestor, _, _ in differing[chosen + 1 :])
    cause = f", because of {behind}" if behind else ""
    if name in (one.name, other.name):
        maker, made = (one, other) if name == one.name else (other, one)
        return ArtifactError(
            f"was made from another {name} than {maker.root}{cause}",
            where=f"{made.name} in {made.root}",
            next_step=f"build {wanted} and its inputs: agar run +{wanted}",
        )
    return ArtifactError(
        f"were made from different versions of {name}",
        where=f"{one.name} in {one.root} and {other.name} in {other.root}",
        next_step=f"build {wanted} and its inputs: agar run +{wanted}",
    )
