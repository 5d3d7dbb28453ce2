"""Exchanges artifacts between a home and the shared store: fetches instead of building, publishes after building.

An unreachable store stops no work: a later run publishes what is missing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.errors import ArtifactError, SharedStoreError
from agar_pipeline.files import disk
from agar_pipeline.progress import Log
from agar_pipeline.store.drafts import open_draft, publish_draft
from agar_pipeline.store.key import Key
from agar_pipeline.store.shared_store import SharedStore


@dataclass(frozen=True)
class FetchOutcome:
    """The result of asking the shared store for an artifact."""

    fetched: bool
    damaged: bool = False
    """The shared store has the artifact, but damaged: the next publication replaces it."""


def fetch(home: Path, shared: SharedStore | None, key: Key, root: Path) -> bool:
    """Fetch an artifact from the shared store, verify it, and publish it in this home by rename.

    The caller holds its writer lock, and `root` does not exist.

    Returns:
        Whether the shared store has it.

    Raises:
        ArtifactError: the artifact in the shared store is damaged.
        SharedStoreError: the shared store cannot be reached.
        StorageError: the home cannot be written.
    """
    found = shared.find(key, root.name) if shared else None
    if shared is None or found is None:
        return False
    manifest, text = found
    with open_draft(home, key, root) as draft:
        shared.fetch_files(key, manifest, draft)
        publish_draft(draft, root, text)
    return True


def bring(home: Path, shared: SharedStore | None, key: Key, root: Path, log: Log) -> FetchOutcome:
    """Fetch as `fetch` does; problems with the shared store are logged, and the caller builds the artifact."""
    if shared is None:
        return FetchOutcome(False)
    try:
        if not fetch(home, shared, key, root):
            return FetchOutcome(False)
    except ArtifactError as error:
        log(f"{error.problem}; it is built again here, and replaced there")
        return FetchOutcome(False, damaged=True)
    except SharedStoreError as error:
        log(f"{error.problem}; the run continues without it")
        return FetchOutcome(False)
    log(f"{key}: fetched from {shared}, {disk.show_bytes(disk.size_bytes(root))}")
    if shared.signer is None and not shared.told_of_trust:
        shared.told_of_trust = True
        log(f"note: AGAR_STORE_KEY_FILE is not set, so that everybody who can write to {shared} is trusted")
    return FetchOutcome(True)


def share(shared: SharedStore | None, key: Key, root: Path, log: Log, *, replace: bool, repoint: bool) -> None:
    """Publish an artifact of this home in the shared store, unless it is there, and make it the `latest` there.

    Problems with the shared store are logged, not raised.
    """
    if shared is None:
        return
    try:
        there = None
        try:
            there = None if replace else shared.find(key, root.name)
        except ArtifactError as error:
            log(f"{error.problem}; it is replaced by the one of this home")
            replace = True
        if there is None:
            first = shared.publish(key, root, replace=replace)
            log(f"{key}: published in {shared}" if first else f"{key}: another machine published it in {shared} first")
        if repoint:
            shared.point(key, root.name)
    except (SharedStoreError, OSError) as error:  # OSError: a shared store on a local disk that is full
        why = error.problem if isinstance(error, SharedStoreError) else error
        log(f"{key} is not in the shared store yet: {why}; a later `agar run` publishes it there")
