"""The artifact folders of one home: built once per fingerprint, published by rename, found through `latest`.

A writer holds `.NAME.lock` exclusively, so that there is one per artifact. Readers hold `.NAME.use` shared, so that
the artifact is not dropped while they use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, MANIFEST
from agar_pipeline.config.places import store_url
from agar_pipeline.errors import ArtifactError, SharedStoreError
from agar_pipeline.files import disk, locks, storage_errors
from agar_pipeline.ownership.home import open_home
from agar_pipeline.progress import Log
from agar_pipeline.store import fetch_and_share
from agar_pipeline.store.content import Content, MadeBy, fingerprint, make_manifest
from agar_pipeline.store.drafts import explain_need, open_draft, publish_draft
from agar_pipeline.store.faults import find_faults
from agar_pipeline.store.key import (
    Built,
    Key,
    Write,
    artifacts_in,
    folder_of,
    folders_in,
    latest_of,
    use_lock,
    writer_lock,
)
from agar_pipeline.store.quarantine import set_foreign_aside
from agar_pipeline.store.shared_store import SharedStore


class Store:
    """The artifacts of one home, and the shared store, if one is configured."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.artifacts = artifacts_in(home)
        url = store_url()
        self.shared = SharedStore(url) if url else None

    def folder(self, key: Key) -> Path:
        return folder_of(self.home, key)

    def latest(self, key: Key) -> Path | None:
        """Return the folder that `latest` points to, or None; it is not verified."""
        return latest_of(self.home, key)

    def find_latest(self, key: Key) -> Path | None:
        """Return the folder that `latest` points to; if this home has none, fetch the one of the shared store.

        If the shared store cannot be used, nothing is fetched; its `trouble` gives the reason.

        Raises:
            ArtifactError: the artifact in the shared store is damaged.
            StorageError: the home cannot be written.
        """
        root = self.latest(key)
        if root is not None or self.shared is None:
            return root
        with contextlib.suppress(SharedStoreError):
            name = self.shared.latest(key)
            return None if name is None else self.find(key, name, repoint=True)
        return None

    def find(self, key: Key, name: str, *, repoint: bool = False) -> Path | None:
        """Return the folder of an artifact by its fingerprint; fetch it if only the shared store has it.

        The folder is not verified.

        Raises:
            As `find_latest`.
        """
        root = self.folder(key) / name
        if root.exists() or self.shared is None:
            return root if root.exists() else None
        with contextlib.suppress(SharedStoreError), storage_errors.clear_storage_errors(self.folder(key)):
            open_home(self.home)
            self.folder(key).mkdir(parents=True, exist_ok=True)
            with locks.locked(writer_lock(root)):
                if not root.exists() and not fetch_and_share.fetch(self.home, self.shared, key, root):
                    return None
                if repoint:
                    self._repoint(key, name)
                return root
        return None

    def open_latest(self, key: Key) -> Any:
        """Open the latest artifact of an asset after verifying it.

        Raises:
            ArtifactError: there is none, or it is damaged.
            SharedStoreError: this home has none, and the shared store cannot be used.
            StorageError: see `find_latest`.
        """
        root = self.find_latest(key)
        if root is None:
            if self.shared and (error := self.shared.error):
                raise SharedStoreError(
                    f"was never built in {self.home}, and {error.problem}",
                    where=key,
                    next_step=f"run `agar run +{key}`; or {error.next_step}",
                )
            raise ArtifactError(f"was never built in {self.home}", where=key, next_step=f"run `agar run +{key}`")
        faults = find_faults(root)
        if faults:
            raise ArtifactError(
                f"is damaged: {faults[0]}", where=root, next_step=f"run `agar run {key}`, which builds it again"
            )
        return key.kind.open(root)

    def build(
        self,
        key: Key,
        config: Mapping[str, Any],
        inputs: Mapping[str, Content],
        write: Write,
        log: Log,
        *,
        repoint: bool = True,
        uses: Collection[Path] = (),
        made_by: MadeBy | None = None,
    ) -> Built:
        """Return the artifact of these inputs; write it first if neither this home nor the shared store has it intact.

        Args:
            config: The part of its config that enters the fingerprint, JSON-ready.
            write: Writes the artifact's files into the empty folder that it receives.
            repoint: Make the artifact the `latest`; False for a variant that differs from the configs.
            uses: Folders of the inputs, which are protected from being dropped during the build.
            made_by: The code of the step; the default is the code version of the artifact's class.

        Raises:
            StorageError: the home cannot be written.
            ArtifactError: an input was dropped just now.
        """
        reads = {name: content.read_by(key.kind, name) for name, content in inputs.items()}
        made_by = made_by or MadeBy(key.kind.code_version)
        name = fingerprint(key.asset, made_by.code_version, config, reads)
        root = self.folder(key) / name
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                storage_errors.clear_storage_errors(self.folder(key), lambda: explain_need(self.home, key, 0))
            )
            open_home(self.home)
            self.folder(key).mkdir(parents=True, exist_ok=True)
            self.sweep()
            for used in uses:
                stack.enter_context(self._in_use(used))
            waiting = f"{key}: waiting for another process that builds it"
            stack.enter_context(locks.locked(writer_lock(root), on_wait=lambda: log(waiting)))
            faults = find_faults(root) if root.exists() else ["not built yet"]
            if faults and root.exists():
                faults = self._put_right(key, root, faults, log)
            outcome = (
                fetch_and_share.bring(self.home, self.shared, key, root, log)
                if faults
                else fetch_and_share.FetchOutcome(False)
            )
            if faults and not outcome.fetched:
                self._publish(key, root, config, inputs, write, made_by)
            if repoint:
                self._repoint(key, name)
            fetch_and_share.share(self.shared, key, root, log, replace=outcome.damaged, repoint=repoint)
        why = "nothing changed" if not faults else f"fetched from {self.shared}" if outcome.fetched else faults[0]
        return Built(key.kind.open(root), cached=not faults or outcome.fetched, why=why)

    def _put_right(self, key: Key, root: Path, faults: list[str], log: Log) -> list[str]:
        """Move foreign files out of an artifact, or the artifact into quarantine if its own files are damaged.

        Returns:
            The faults because of which it must be built again; empty if only foreign files were wrong.
        """
        aside = set_foreign_aside(self.home, root)
        if aside is None:
            log(f"{key}: {faults[0]}; it is moved to quarantine and built again")
            self.quarantine(root)
            return faults
        log(f"{key}: {faults[0]}; this was moved to {aside}, and the artifact itself is intact")
        return []

    @contextlib.contextmanager
    def _in_use(self, root: Path) -> Iterator[None]:
        if not root.is_relative_to(self.artifacts.resolve()):  # outside this home: `agar clean` does not drop it
            yield
            return
        with locks.locked(use_lock(root), shared=True):
            if not (root / MANIFEST).exists():
                raise ArtifactError(
                    "was dropped a moment ago by `agar clean`", where=root, next_step="run `agar run` again"
                )
            yield

    def _publish(
        self,
        key: Key,
        root: Path,
        config: Mapping[str, Any],
        inputs: Mapping[str, Content],
        write: Write,
        made_by: MadeBy,
    ) -> None:
        with open_draft(self.home, key, root) as draft:
            started = time.monotonic()
            known = write(draft)
            missing = [name for name in key.kind.files if not (draft / name).is_file()]
            if missing:
                raise ArtifactError(
                    f"did not write {', '.join(missing)}", where=key, next_step="report this bug: name the command"
                )
            seconds = round(time.monotonic() - started, 3)
            manifest = make_manifest(key.kind, draft, config, inputs, seconds, known, made_by)
            publish_draft(draft, root, json.dumps(asdict(manifest), indent=1).encode())

    def _repoint(self, key: Key, name: str) -> None:
        link = self.folder(key) / "latest"
        if link.is_symlink() and str(link.readlink()) == name:
            return
        draft = link.with_name(f".latest-{name}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(name)
        draft.replace(link)
        os.utime(link.with_name(name))  # the mtime shows which pipeline's artifact was made current last
        disk.sync(link.parent)

    def quarantine(self, root: Path) -> Path:
        """Move a damaged artifact into quarantine, where a person can look at it."""
        aside = self.home / "quarantine" / f"{'-'.join(root.relative_to(self.artifacts).parts)}-{time.time_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        root.rename(aside)
        return aside

    def assets(self) -> list[Key]:
        top = folders_in(self.artifacts)
        own = [Key(path.name) for path in top if path.name in ARTIFACTS]
        inner = [Key(sub.name, path.name) for path in top if path.name not in ARTIFACTS for sub in folders_in(path)]
        return own + [key for key in inner if key.asset in ARTIFACTS]

    def roots(self, key: Key) -> list[Path]:
        """Return the published folders of an asset, intact or not."""
        return [path for path in folders_in(self.folder(key)) if not path.is_symlink()]

    def published(self) -> Iterator[Path]:
        """Iterate over every published folder that has a manifest."""
        return (root for key in self.assets() for root in self.roots(key) if (root / MANIFEST).exists())

    def sweep(self) -> list[Path]:
        """Remove the drafts of dead processes: those whose artifact's writer lock is free."""
        swept: list[Path] = []
        for key in self.assets():
            for dead in [path for kind in ("draft", "latest") for path in self.folder(key).glob(f".{kind}-*")]:
                root = dead.with_name(dead.name.split("-")[1])
                with contextlib.suppress(PermissionError), locks.free(writer_lock(root)) as is_free:
                    if is_free:
                        disk.remove(dead)
                        swept.append(dead)
        return swept
