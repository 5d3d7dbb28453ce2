"""Finds the current artifact of each asset: the one that today's config and pipeline name, wherever `latest` points.

An artifact is found by its fingerprint, which follows from the artifacts before it. If one of those is missing on this
machine (for example after a COCO cache was copied here), the artifact whose manifest says that it was made by today's
config counts. So all inputs of a node belong to one chain. Here: finding.
Not here: building (`build`), whether given inputs agree (`agreement`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import Ancestor, Artifact, Manifest, digest_config
from agar_pipeline.artifacts.refusals import REFUSAL_OF, require
from agar_pipeline.chain.agreement import find_conflict
from agar_pipeline.chain.nodes import SOURCE, AssetNode
from agar_pipeline.config.chosen_pipeline import chosen_words
from agar_pipeline.errors import ArtifactError, PipelineError, from_fields
from agar_pipeline.store import Content, Key, Store, find_faults, fingerprint


@dataclass(frozen=True)
class Found:
    """The current artifact of an asset, and its place."""

    key: Key
    name: str
    manifest: Manifest
    root: Path | None
    """None if only the shared store has it."""


class Current:
    """The current artifacts of one pipeline that this home or the shared store has; each is looked up once."""

    def __init__(
        self, store: Store, nodes: Mapping[Key, AssetNode], built: Callable[[Key], Path | None] = lambda key: None
    ) -> None:
        """`built` returns the folder of an artifact that was built just now and therefore is current, or None."""
        self._store, self._nodes, self._built = store, nodes, built
        self._found: dict[Key, Found | None] = {}

    def find(self, key: Key) -> Found | None:
        """Return the current artifact; None if neither this home nor the shared store has it."""
        if key not in self._found:
            self._found[key] = self._look(key)
        return self._found[key]

    def open(self, key: Key) -> Any:
        """Return the current artifact of an asset, verified; fetched if only the shared store has it.

        Raises:
            ArtifactError: it is missing or damaged. The message says which config or input differs from that of
                `latest`, and what to run.
        """
        found = self.find(key)
        if found is None:
            raise self._not_at_hand(key)
        root = found.root or self._store.find(key, found.name)
        if root is None:
            raise ArtifactError(
                "was removed from the shared store in the meantime",
                where=f"{key} {found.name}",
                next_step=f"build it again: agar run +{key}",
            )
        if faults := find_faults(root):
            raise ArtifactError(f"is damaged: {faults[0]}", where=root, next_step=f"build it again: agar run {key}")
        return key.kind.open(root)

    def open_inputs(self, node: AssetNode) -> dict[Key, Any]:
        """Return the current artifact of each input of a node.

        Raises:
            ArtifactError: see `open`.
            GateError: see `require_allowed`.
        """
        self.require_allowed(node)
        return {key: self.open(key) for key in node.inputs if key != SOURCE}

    def require_allowed(self, node: AssetNode) -> None:
        """Raise GateError if the verdict of a direct or indirect input of a node forbids to continue."""
        for key in self._made_from(node):
            if key.asset in REFUSAL_OF and self.find(key) is not None:
                require(REFUSAL_OF[key.asset](self.open(key)))

    def _made_from(self, node: AssetNode) -> Iterator[Key]:
        for key in node.inputs:
            if key != SOURCE:
                yield from self._made_from(self._nodes[key])
                yield key

    def _look(self, key: Key) -> Found | None:
        if (root := self._built(key)) is not None:
            return Found(key, root.name, Manifest.read(root), root)
        node = self._nodes[key]
        reads = {str(name): self._read(name, key) for name in node.inputs if name != SOURCE}
        if SOURCE not in node.inputs and None not in reads.values():
            known = {name: read for name, read in reads.items() if read is not None}
            return self._at(key, fingerprint(key.asset, node.step_version, node.recorded_config, known))
        return next((found for found in self._candidates(key) if self._says_so(node, found.manifest, reads)), None)

    def _read(self, name: Key, reader: Key) -> str | None:
        """Return the version of what an asset reads of one of its inputs; None if that input is missing here."""
        found = self.find(name)
        return Content.of(found.manifest).read_by(reader.kind, str(name)) if found else None

    def _at(self, key: Key, name: str) -> Found | None:
        root, shared = self._store.folder(key) / name, self._store.shared
        with contextlib.suppress(ArtifactError):
            if root.is_dir():
                return Found(key, name, Manifest.read(root), root)
            manifest = shared.look(key, name) if shared else None
            return Found(key, name, manifest, None) if manifest else None
        return None

    def _candidates(self, key: Key) -> Iterator[Found]:
        """Yield the `latest`, then the others in this home, the one that was made `latest` last first, then the
        `latest` of the shared store.
        """
        roots = sorted(self._store.roots(key), key=lambda root: root.stat().st_mtime_ns, reverse=True)
        latest = self._store.latest(key)
        for root in dict.fromkeys([*([latest] if latest else []), *roots]):
            if found := self._at(key, root.name):
                yield found
        shared = self._store.shared
        with contextlib.suppress(ArtifactError):
            if shared and (manifest := shared.look(key, None)):
                yield Found(key, manifest.fingerprint, manifest, None)

    def _says_so(self, node: AssetNode, manifest: Manifest, reads: Mapping[str, str | None]) -> bool:
        """Return whether an artifact was made by today's config from the inputs that are here.

        For inputs and other ancestors that are missing here, the artifact's own manifest is believed.
        """
        if not _made_by(node, manifest.as_ancestor()):
            return False
        missing = [name for name, read in reads.items() if read is None]
        if any(name not in manifest.ancestors for name in missing):
            return False
        ancestors = {key: manifest.ancestors[str(key)] for key in self._nodes if str(key) in manifest.ancestors}
        made_today = all(_made_by(self._nodes[key], of) for key, of in ancestors.items() if self.find(key) is None)
        return made_today and all(read in (None, manifest.reads[name]) for name, read in reads.items())

    def _not_at_hand(self, key: Key) -> PipelineError:
        """Explain why an artifact is missing: inputs that do not belong together, or the first missing asset.

        If the shared store cannot be used, that error comes first: the store may hold what is missing.
        """
        if self._store.shared and (error := self._store.shared.error):
            return from_fields(error.fields)
        beside: dict[Key, Artifact] = {}
        for name in self._nodes[key].inputs:
            found = self.find(name) if name != SOURCE else None
            if found and found.root:
                beside[name] = name.kind.open(found.root)
        return self._explain(key, key, beside)

    def _explain(self, wanted: Key, key: Key, beside: Mapping[Key, Artifact]) -> ArtifactError:
        """Say why `key`, which is `wanted` or made into it, has no current artifact."""
        latest = self._store.latest(key)
        try:
            manifest = Manifest.read(latest) if latest else None
        except ArtifactError as error:
            return ArtifactError(
                error.what, where=error.where, next_step=f"build {wanted} and its inputs: agar run +{wanted}"
            )
        if latest is None or manifest is None:
            return ArtifactError(
                f"was never built in {self._store.home} for {chosen_words()}",
                where=key,
                next_step=f"build {wanted} and its inputs: agar run +{wanted}",
            )
        if conflict := find_conflict(wanted, {**beside, key: key.kind.open(latest)}):
            return conflict
        for name in self._nodes[key].inputs:
            if name != SOURCE and self.find(name) is None:
                return self._explain(wanted, name, {})
        if manifest.config != self._nodes[key].recorded_config:
            return ArtifactError(
                f"was built from another config than {chosen_words()} has now",
                where=f"{key} in {latest}",
                next_step=f"build {wanted} and its inputs: agar run +{wanted}; "
                "or set AGAR_PIPELINE to the pipeline that you mean",
            )
        return ArtifactError(
            "was built by another version of the code, or from other inputs than the current ones",
            where=f"{key} in {latest}",
            next_step=f"build {wanted} and its inputs: agar run +{wanted}",
        )


def _made_by(node: AssetNode, of: Ancestor) -> bool:
    """Return whether an artifact was made by today's code version and config of a node."""
    return (of.code_version, of.config_digest) == (node.step_version, digest_config(node.recorded_config))
