"""What is current: the artifact of each asset that today's config and pipeline name, whatever `latest` leads to.

Each is found by its fingerprint, which follows from the artifacts before it. Where one of those is not at hand (a COCO
cache that was copied to another machine), the artifact counts that says itself that it was made by today's config. So
all inputs of a node are of one chain. Here: finding. Not here: building (`build`), whether inputs that are given
agree (`agreement`).
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
from agar_pipeline.config.chosen import chosen_words
from agar_pipeline.errors import ArtifactError, PipelineError, SharedStoreError
from agar_pipeline.store import Content, Key, Store, find_faults, fingerprint


@dataclass(frozen=True)
class Found:
    """Where the current artifact of an asset is."""

    key: Key
    name: str
    manifest: Manifest
    root: Path | None
    """None: only the shared store has it."""


class Current:
    """The current artifacts of one pipeline, as far as they are at hand; looked for once."""

    def __init__(
        self, store: Store, nodes: Mapping[Key, AssetNode], built: Callable[[Key], Path | None] = lambda key: None
    ) -> None:
        """`built`: what was made just now, and is current therefore."""
        self._store, self._nodes, self._built = store, nodes, built
        self._found: dict[Key, Found | None] = {}

    def find(self, key: Key) -> Found | None:
        """None where it is neither on disk nor in the shared store."""
        if key not in self._found:
            self._found[key] = self._look(key)
        return self._found[key]

    def open(self, key: Key) -> Any:
        """The current artifact of an asset, verified; fetched where only the shared store has it.

        Raises:
            ArtifactError: it is not at hand, or damaged. Says which config or input is another than that of `latest`,
                and what to run.
        """
        found = self.find(key)
        if found is None:
            raise self._not_at_hand(key)
        root = found.root or self._store.find(key, found.name)
        faults = find_faults(root) if root else [f"{key} {found.name} is in the shared store no more"]
        if root is None or faults:
            raise ArtifactError(f"{root} is damaged: {faults[0]}\nrun `agar run {key}` to build it again")
        return key.kind.open(root)

    def open_inputs(self, node: AssetNode) -> dict[Key, Any]:
        """The artifact of each input of a node.

        Raises:
            ArtifactError: see `open`.
            GateError: see `require_allowed`.
        """
        self.require_allowed(node)
        return {key: self.open(key) for key in node.inputs if key != SOURCE}

    def require_allowed(self, node: AssetNode) -> None:
        """Raises GateError where a verdict on what a node is made from, at any distance, forbids to go on."""
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
        """The version of what an asset reads of one of its inputs; None where that is not at hand."""
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
        """What `latest` leads to, then the others, of which that was made `latest` last comes first; then what others
        share."""
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
        """Whether an artifact was made by today's config from what is at hand, by its own record of the rest."""
        if not _made_by(node, manifest.as_ancestor()):
            return False
        missing = [name for name, read in reads.items() if read is None]
        if any(name not in manifest.ancestors for name in missing):
            return False
        ancestors = {key: manifest.ancestors[str(key)] for key in self._nodes if str(key) in manifest.ancestors}
        made_today = all(_made_by(self._nodes[key], of) for key, of in ancestors.items() if self.find(key) is None)
        return made_today and all(read in (None, manifest.reads[name]) for name, read in reads.items())

    def _not_at_hand(self, key: Key) -> PipelineError:
        """Why: the two that do not belong together, or the first asset of the chain that is missing.

        Where the shared store cannot be asked that comes first: it may hold what is missing.
        """
        if self._store.shared and (trouble := self._store.shared.trouble):
            return SharedStoreError(trouble)
        beside: dict[Key, Artifact] = {}
        for name in self._nodes[key].inputs:
            found = self.find(name) if name != SOURCE else None
            if found and found.root:
                beside[name] = name.kind.open(found.root)
        return ArtifactError(f"{self._why(key, beside)}\nrun what it takes: agar run +{key}")

    def _why(self, key: Key, beside: Mapping[Key, Artifact]) -> str:
        latest = self._store.latest(key)
        try:
            manifest = Manifest.read(latest) if latest else None
        except ArtifactError as error:
            return str(error)
        if latest is None or manifest is None:
            return f"{key} was never built in {self._store.home} for {chosen_words()}"
        if conflict := find_conflict({**beside, key: key.kind.open(latest)}):
            return conflict
        for name in self._nodes[key].inputs:
            if name != SOURCE and self.find(name) is None:
                return self._why(name, {})
        if manifest.config != self._nodes[key].recorded_config:
            return f"{key} in {latest} was built from another config than {key} of {chosen_words()} has now"
        return f"{key} in {latest} was built by another version of the code, or from other inputs than today's"


def _made_by(node: AssetNode, of: Ancestor) -> bool:
    """Whether an artifact was made by today's code version and config of a node."""
    return (of.code_version, of.config_digest) == (node.step_version, digest_config(node.recorded_config))
