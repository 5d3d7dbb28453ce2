"""Verifies everything that a home has published, and determines which artifacts are kept.

Not here: removing the others (`clean`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.artifacts import Manifest
from agar_pipeline.errors import ArtifactError
from agar_pipeline.files import disk, locks
from agar_pipeline.ownership.home import require_own
from agar_pipeline.ownership.scratch_folders import sweep_scratch
from agar_pipeline.progress import Progress
from agar_pipeline.store.faults import find_faults
from agar_pipeline.store.folders import Store
from agar_pipeline.store.key import Key, writer_lock
from agar_pipeline.store.quarantine import put_back, set_foreign_aside

KEEPER = "kept-"
"""Prefix of the links that keep an artifact which no `latest` leads to."""
SHORTEST_WORD = 4
"""Minimum number of letters of a fingerprint that name an artifact; they must also be unique."""


@dataclass(frozen=True)
class BadArtifact:
    """A published folder that does not match its manifest."""

    key: Key
    root: Path
    faults: tuple[str, ...]
    current: bool
    """Whether `latest` pointed to it when it was found."""
    aside: Path | None
    """Its path in quarantine; None if it was not moved, because a running process is building it again."""
    whole: bool = False
    """Its own files are intact and were not moved; only foreign files were."""


@dataclass(frozen=True)
class VerifyResult:
    """What `verify` found and did."""

    checked: int
    size_bytes: int
    bad: tuple[BadArtifact, ...]
    dangling: tuple[Key, ...]
    """Assets whose `latest` led nowhere; the link is removed, and the next run builds them again."""
    swept: int
    """Number of removed drafts and scratch folders of dead processes."""
    put_back: tuple[Path, ...] = ()
    """Artifacts that lay in quarantine but are intact, and were published again."""

    @property
    def ok(self) -> bool:
        return not self.bad and not self.dangling


def verify(store: Store, progress: Progress) -> VerifyResult:
    """Hash every published artifact again; quarantine damaged ones, and remove each `latest` that leads nowhere.

    Args:
        progress: Called with (bytes done, bytes in total).
    """
    require_own(store.home)
    put_again = tuple(put_back(store.home))
    swept = len(store.sweep()) + len(sweep_scratch(store.home))
    sizes = {(key, root): disk.size_bytes(root) for key in store.assets() for root in store.roots(key)}
    bad: list[BadArtifact] = []
    done, total = 0, sum(sizes.values())
    progress(done, total)
    for (key, root), size_bytes in sizes.items():
        if find_faults(root, thorough=True):
            bad += _put_aside(store, key, root)
        done += size_bytes
        progress(done, total)
    broken = {found.key for found in bad if found.current and not found.whole}
    dangling = [key for key in store.assets() if _unlink_dangling(store, key) and key not in broken]
    return VerifyResult(len(sizes), total, tuple(bad), tuple(dangling), swept, put_again)


def _put_aside(store: Store, key: Key, root: Path) -> Iterator[BadArtifact]:
    """Quarantine a damaged artifact, unless a process is building it; yield nothing if it is gone or intact by now."""
    with locks.free(writer_lock(root)) as is_free:
        faults = find_faults(root, thorough=True) if root.exists() else []
        if faults:
            current = store.latest(key) == root.resolve()
            foreign = set_foreign_aside(store.home, root) if is_free else None
            aside = foreign or (store.quarantine(root) if is_free else None)
            yield BadArtifact(key, root, tuple(faults), current, aside, whole=foreign is not None)


def was_set_aside(store: Store, key: Key) -> bool:
    """Return whether an artifact of this asset lies in quarantine."""
    return any((store.home / "quarantine").glob(f"{'-'.join(key.parts)}-[0-9a-f]*"))


def _unlink_dangling(store: Store, key: Key) -> bool:
    link = store.folder(key) / "latest"
    if not link.is_symlink() or link.exists():
        return False
    with locks.free(writer_lock(link.with_name(link.readlink().name))) as is_free:  # locked while it is being built
        if is_free and not link.exists():
            link.unlink(missing_ok=True)
    return is_free


def find_kept(store: Store) -> set[Path]:
    """Return the artifacts that a `latest` or a keep link points to, and those that they were made from.

    Inputs are followed transitively by data version.
    """
    manifests: dict[Path, Manifest] = {}
    by_version: dict[tuple[str, str], list[Path]] = {}
    for key in store.assets():
        for root in store.roots(key):
            with contextlib.suppress(ArtifactError):  # without a manifest its inputs are unknown
                manifests[root] = manifest = Manifest.read(root)
                by_version.setdefault((str(key), manifest.data_version), []).append(root)
    kept: set[Path] = set()
    waiting = [store.folder(key) / target for key, target in targets_of(store).items()]
    waiting += [link.with_name(link.readlink().name) for key in store.assets() for link in _keepers(store, key)]
    while waiting:
        root = waiting.pop()
        if root not in kept:
            kept.add(root)
            inputs = manifests[root].inputs if root in manifests else {}
            waiting += [made_from for item in inputs.items() for made_from in by_version.get(item, [])]
    return kept


def keep(store: Store, word: str) -> Path:
    """Keep an artifact, and what it was made from, until `release`; a link beside the artifact records it.

    Args:
        word: The artifact's fingerprint, or its first letters.

    Raises:
        ArtifactError: no fingerprint begins with `word`, or several do.
    """
    named = [root for root in store.published() if len(word) >= SHORTEST_WORD and root.name.startswith(word)]
    if len(named) != 1:
        raise ArtifactError(
            f"matches the beginning of {len(named)} fingerprints, but must match one",
            where="--keep",
            value=word,
            next_step="give more letters of a fingerprint that `agar compare` or `agar plan --json` lists",
        )
    link = named[0].with_name(f"{KEEPER}{named[0].name[:12]}")
    if not link.is_symlink():
        link.symlink_to(named[0].name)
    return named[0]


def release(store: Store, word: str) -> list[Path]:
    """Undo `keep`; return the artifacts that it kept."""
    links = [link for key in store.assets() for link in _keepers(store, key) if link.readlink().name.startswith(word)]
    roots = [link.with_name(link.readlink().name) for link in links]
    for link in links:
        link.unlink()
    return roots


def _keepers(store: Store, key: Key) -> list[Path]:
    return [path for path in store.folder(key).glob(f"{KEEPER}*") if path.is_symlink()]


def targets_of(store: Store) -> dict[Key, str]:
    links = {key: store.folder(key) / "latest" for key in store.assets()}
    return {key: link.readlink().name for key, link in links.items() if link.is_symlink()}
