"""Determines which assets would be built again, and why: compares the artifacts with today's config, code and data.

Here: comparing. Not here: running (`defs.run`); asking Dagster or the database, whose answers are arguments here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from agar_pipeline.artifacts import Manifest
from agar_pipeline.artifacts.refusals import REFUSAL_OF
from agar_pipeline.chain.nodes import SOURCE, AssetNode
from agar_pipeline.chain.reasons import changed_inputs, config_reasons, join_reasons
from agar_pipeline.errors import ArtifactError, GateError
from agar_pipeline.store import Content, Key, Store, find_faults, fingerprint
from agar_pipeline.store.verify import was_set_aside

State = Literal["fresh", "stale", "missing", "corrupt"]


@dataclass(frozen=True)
class DagsterRecord:
    """Dagster's record of an asset's latest materialization."""

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
    elsewhere: bool = False
    """Only the shared store has it: nothing is computed, and it is fetched when it is used."""
    notes: tuple[str, ...] = ()
    """Differences between today's code, libraries or machine and those that made an artifact which is kept."""
    causes: tuple[str, ...] = ()
    """The reasons that are about images and boxes; they are passed on to all assets that depend on this one."""
    refusal: GateError | None = None
    """Of a fresh split or bbox report: why nothing may be built from it, and what to do."""

    def why(self, told: Collection[str] = ()) -> str:
        """Return the reasons on one line, as many as `join_reasons` tells.

        Args:
            told: Reasons that an earlier line names already; they are left out unless nothing else remains.
        """
        reasons = [*self.reasons, *([self.refusal.problem] if self.refusal else [])]
        return join_reasons([reason for reason in reasons if reason not in told] or reasons)

    def to_plain(self) -> dict[str, Any]:
        return {
            "asset": str(self.key),
            "state": self.state,
            "refused": str(self.refusal) if self.refusal else None,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "path": str(self.path) if self.path else None,
            "last_seconds": self.last_seconds,
        }


@dataclass(frozen=True)
class Observation:
    """What is known of the dataset and of Dagster's records."""

    source_version: str | None
    """Version of the FiftyOne dataset as just observed; if None (it could not be observed), the version that the
    latest snapshot was taken from is used."""
    records: Mapping[Key, DagsterRecord]
    """Dagster's record of each asset. An artifact that Dagster does not record as current is materialized again, so
    that its UI is correct; that computes nothing."""
    explain_source: Callable[[Path, str], tuple[Sequence[str], Content | None]]
    """(folder of the latest snapshot, version of the dataset) → how the dataset differs from the snapshot, and the
    content of a snapshot taken now, or None if that is unknown. Called only if the version changed."""
    explain_input: Callable[[Path, Path], Sequence[str]] = lambda before, after: ()
    """(folder of an input as it was read, folder as it is now) → which images and boxes differ."""


def make_plan(store: Store, nodes: Mapping[Key, AssetNode], seen: Observation) -> list[PlannedAsset]:
    """Plan every node, inputs first.

    Args:
        nodes: All nodes, in the order of the chain.
        seen: The state of the dataset, and Dagster's records.
    """
    contents: dict[Key, Content] = {}
    plan: dict[Key, PlannedAsset] = {}
    for node in nodes.values():
        planned, content = _plan_node(store, node, seen, contents)
        if content is not None:
            contents[node.key] = content
        plan[node.key] = _with_refusal(_with_causes(store, node, seen, planned, plan, contents))
    return list(plan.values())


def _with_causes(
    store: Store,
    node: AssetNode,
    seen: Observation,
    planned: PlannedAsset,
    plan: Mapping[Key, PlannedAsset],
    contents: Mapping[Key, Content],
) -> PlannedAsset:
    """Add to the line of a stale node which of the images and boxes that it is made from have changed.

    The causes of an input are passed on only if the node was made from the `latest` of that input. Another pipeline
    may have built that `latest`; then the input that the node's own manifest records is compared.
    """
    manifest = _manifest(planned.path)
    if planned.state != "stale" or planned.causes or manifest is None:
        return planned
    blamed = [key for key in node.inputs if key in plan and _blames(planned, key)]
    of_latest = [key for key in blamed if manifest.inputs.get(str(key)) == _data_version(plan[key].path)]
    causes = dict.fromkeys(cause for key in of_latest for cause in plan[key].causes)
    if not causes:
        made_from = {name: of.data_version for name, of in manifest.ancestors.items()} | manifest.inputs
        unknown = any(key not in contents for key in blamed)  # then its own inputs are compared
        for key in [key for key in plan if key in contents and (key in blamed or unknown)]:
            roots = {_data_version(root): root for root in store.roots(key)}
            before, now = roots.get(made_from.get(str(key))), roots.get(contents[key].data_version)
            causes |= dict.fromkeys(seen.explain_input(before, now) if before and now and before != now else ())
    return replace(planned, reasons=(*planned.reasons, *causes), causes=tuple(causes))


def _with_refusal(planned: PlannedAsset) -> PlannedAsset:
    """Add the verdict that an artifact holds to the line of a fresh asset."""
    if planned.state != "fresh" or planned.path is None or planned.key.asset not in REFUSAL_OF:
        return planned
    return replace(planned, refusal=REFUSAL_OF[planned.key.asset](planned.key.kind.open(planned.path)))


def _blames(planned: PlannedAsset, key: Key) -> bool:
    after = [name for reason in planned.reasons for name in reason.removeprefix("comes after ").split(", ")]
    return f"{key} changed" in planned.reasons or str(key) in after


def _data_version(root: Path | None) -> str | None:
    manifest = _manifest(root)
    return manifest.data_version if manifest else None


def _plan_node(
    store: Store, node: AssetNode, seen: Observation, contents: Mapping[Key, Content]
) -> tuple[PlannedAsset, Content | None]:
    """Return the line of one node, and the content that it will have after a run, or None if that is unknown."""
    latest = store.latest(node.key)
    manifest = _manifest(latest)
    seconds = manifest.seconds if manifest else None

    def line(state: State, *reasons: str) -> PlannedAsset:
        return PlannedAsset(node.key, state, reasons, latest, seconds)

    if latest is None:
        return _plan_absent(store, node, seen, contents)
    if manifest is None:
        return line("corrupt", *find_faults(latest)), None
    own = Content.of(manifest)
    waiting = _waiting(node, contents)
    if waiting:
        return line("stale", *config_reasons(node, manifest), f"comes after {', '.join(waiting)}"), None
    inputs = _inputs(node, contents, seen, manifest)
    reads, expected = _expect(node, inputs)
    if expected != manifest.fingerprint:
        reasons = [*config_reasons(node, manifest), *changed_inputs(manifest, reads)]
        built = store.folder(node.key) / expected
        if built.exists() and (found := _manifest(built)):
            return line("stale", *reasons, "built before, nothing to compute"), Content.of(found)
        if found := _look(store, node.key, expected):
            return line("stale", *reasons, f"in {store.shared}, nothing to compute"), Content.of(found)
        return _explain(node, manifest, reads, latest, seen, line)
    faults = find_faults(latest)
    if faults:
        return line("corrupt", *faults), own  # it is built again from the same inputs, with the same content
    notes = tuple(node.differences(manifest))
    versions = {name: content.data_version for name, content in inputs.items()}
    if seen.records.get(node.key) != DagsterRecord(node.code_version, manifest.data_version, versions):
        return replace(line("stale", "nothing to compute, only to record in Dagster"), notes=notes), own
    if store.shared and not _look(store, node.key, expected) and store.shared.error is None:
        return line("stale", f"nothing to compute, only to put into {store.shared}"), own
    return replace(line("fresh"), notes=notes), own


def _plan_absent(
    store: Store, node: AssetNode, seen: Observation, contents: Mapping[Key, Content]
) -> tuple[PlannedAsset, Content | None]:
    """Return the line of a node without a `latest`; this home (a trained variant) or the shared store may have it."""
    why, shared = "damaged, and moved to quarantine" if was_set_aside(store, node.key) else "never built", store.shared
    if not _waiting(node, contents):
        unknown = SOURCE in node.inputs and seen.source_version is None
        last = _look(store, node.key, None) if unknown else None
        _, expected = _expect(node, _inputs(node, contents, seen, last))
        built = store.folder(node.key) / expected
        if built.exists() and (found := _manifest(built)):
            reason = "built before, nothing to compute"
            return PlannedAsset(node.key, "stale", (reason,), None, found.seconds), Content.of(found)
        try:
            found = shared.look(node.key, expected) if shared else None
        except ArtifactError as error:
            return PlannedAsset(node.key, "corrupt", (error.problem,), None, None), None
        if found:
            reasons = (f"in {shared}, fetched when it is used",)
            return PlannedAsset(node.key, "fresh", reasons, None, found.seconds, elsewhere=True), Content.of(found)
    return PlannedAsset(node.key, "missing", (why,), None, None), None


def _look(store: Store, key: Key, name: str | None) -> Manifest | None:
    """Return a manifest of the shared store; None if it has none, or one that must not be used."""
    with contextlib.suppress(ArtifactError):
        return store.shared.look(key, name) if store.shared else None
    return None


def _waiting(node: AssetNode, contents: Mapping[Key, Content]) -> list[str]:
    return [str(key) for key in node.inputs if key != SOURCE and key not in contents]


def _inputs(
    node: AssetNode, contents: Mapping[Key, Content], seen: Observation, manifest: Manifest | None
) -> dict[str, Content]:
    """Return the content of each input by name; for a dataset that was not observed, the version in `manifest`."""
    inputs = {str(key): contents[key] for key in node.inputs if key != SOURCE}
    if SOURCE in node.inputs:
        known = manifest.inputs.get(str(SOURCE), "") if manifest else ""
        inputs[str(SOURCE)] = Content(seen.source_version or known, {})
    return inputs


def _expect(node: AssetNode, inputs: Mapping[str, Content]) -> tuple[dict[str, str], str]:
    """Return what the step would read of each input, and the fingerprint of the artifact that it would build."""
    reads = {name: content.read_by(node.key.kind, name) for name, content in inputs.items()}
    return reads, fingerprint(node.key.asset, node.step_version, node.recorded_config, reads)


def _explain(
    node: AssetNode,
    manifest: Manifest,
    reads: Mapping[str, str],
    latest: Path,
    seen: Observation,
    line: Callable[..., PlannedAsset],
) -> tuple[PlannedAsset, Content | None]:
    """Say why a node must be built; also return its content after the build, if only the dataset changed."""
    reasons, changed = config_reasons(node, manifest), changed_inputs(manifest, reads)
    if str(SOURCE) not in reads or reads[str(SOURCE)] == manifest.reads.get(str(SOURCE)):
        return line("stale", *reasons, *changed), None
    if reasons:  # a changed dataset name, field or view explains the difference; comparing snapshots would not help
        return line("stale", *reasons), None
    differences, content = seen.explain_source(latest, reads[str(SOURCE)])
    return replace(line("stale", *differences), causes=tuple(differences)), content


def _manifest(root: Path | None) -> Manifest | None:
    try:
        return Manifest.read(root) if root else None
    except ArtifactError:
        return None
