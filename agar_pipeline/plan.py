"""What would run again, and why: the artifacts on disk against today's config, code and data.

Here: comparing. Not here: running (`defs.run`), or asking Dagster or the database, whose answers come as arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agar_pipeline.artifacts import Manifest
from agar_pipeline.chain import SOURCE, Node
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Key, Store, find_faults, fingerprint

State = Literal["fresh", "stale", "missing", "corrupt"]


@dataclass(frozen=True)
class Record:
    """What Dagster remembers of an asset's latest materialization."""

    code_version: str | None
    data_version: str | None
    input_data_versions: Mapping[str, str]


@dataclass(frozen=True)
class PlannedAsset:
    """One line of the plan."""

    key: Key
    state: State
    reasons: tuple[str, ...]
    path: Path | None
    last_seconds: float | None

    def to_plain(self) -> dict[str, Any]:
        return {
            "asset": str(self.key),
            "state": self.state,
            "reasons": list(self.reasons),
            "path": str(self.path) if self.path else None,
            "last_seconds": self.last_seconds,
        }


def make_plan(
    store: Store, nodes: Mapping[Key, Node], source_version: str | None, records: Mapping[Key, Record]
) -> list[PlannedAsset]:
    """Judge every node, inputs first.

    Args:
        store: Where artifacts live.
        nodes: In the order of the chain.
        source_version: Of the FiftyOne dataset as just observed; None where it could not be observed: the version
            that the snapshot was taken from then stands for it.
        records: What Dagster remembers; an artifact that it does not know as current is materialized again, which
            computes nothing, so that its UI tells the truth.
    """
    versions: dict[Key, str] = {}
    plan: list[PlannedAsset] = []
    for node in nodes.values():
        planned = _judge(store, node, source_version, versions, records.get(node.key))
        if planned.state == "fresh" or (planned.state == "corrupt" and planned.path):
            manifest = _manifest(planned.path)
            if manifest is not None:  # a damaged artifact is rebuilt from the same inputs, to the same content
                versions[node.key] = manifest.data_version
        plan.append(planned)
    return plan


def _judge(
    store: Store, node: Node, source_version: str | None, versions: Mapping[Key, str], record: Record | None
) -> PlannedAsset:
    latest = store.latest(node.key)
    manifest = _manifest(latest)
    seconds = manifest.seconds if manifest else None
    if latest is None:
        return PlannedAsset(node.key, "missing", ("never built",), None, None)
    if manifest is None:
        return PlannedAsset(node.key, "corrupt", tuple(find_faults(latest)), latest, None)
    waiting = [str(key) for key in node.inputs if key != SOURCE and key not in versions]
    if waiting:
        reasons = (*_config_reasons(node, manifest), f"comes after {', '.join(waiting)}")
        return PlannedAsset(node.key, "stale", reasons, latest, seconds)
    inputs = {str(key): versions[key] for key in node.inputs if key != SOURCE}
    if SOURCE in node.inputs:
        inputs[str(SOURCE)] = source_version or manifest.inputs.get(str(SOURCE), "")
    expected = fingerprint(node.key.asset, node.key.kind.code_version, node.recorded_config, inputs)
    if expected != manifest.fingerprint:
        reasons = tuple(_differences(node, manifest, inputs))
        if (store.folder(node.key) / expected).exists():
            reasons += ("built before, nothing to compute",)
        return PlannedAsset(node.key, "stale", reasons, latest, seconds)
    faults = find_faults(latest)
    if faults:
        return PlannedAsset(node.key, "corrupt", tuple(faults), latest, seconds)
    if record != Record(node.code_version, manifest.data_version, inputs):
        return PlannedAsset(node.key, "stale", ("Dagster does not know it yet, nothing to compute",), latest, seconds)
    return PlannedAsset(node.key, "fresh", (), latest, seconds)


def _manifest(root: Path | None) -> Manifest | None:
    try:
        return Manifest.read(root) if root else None
    except ArtifactError:
        return None


def _differences(node: Node, manifest: Manifest, inputs: Mapping[str, str]) -> Iterator[str]:
    yield from _config_reasons(node, manifest)
    for name in sorted(inputs.keys() | manifest.inputs.keys()):
        if inputs.get(name) != manifest.inputs.get(name):
            yield f"{name} changed"


def _config_reasons(node: Node, manifest: Manifest) -> list[str]:
    reasons = diff_config(manifest.config, node.recorded_config, prefix=node.key.asset)
    if manifest.code_version != node.key.kind.code_version:
        reasons.append(f"code version {manifest.code_version} → {node.key.kind.code_version}")
    return reasons


def diff_config(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> list[str]:
    """Differences of two nested configs, one text each: `split.seed 0 → 1`."""
    reasons: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            reasons += diff_config(before, after, f"{prefix}.{name}")
        elif before != after:
            reasons.append(f"{prefix}.{name} {before} → {after}")
    return reasons
