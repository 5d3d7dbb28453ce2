"""Removes what nothing refers to any more: old artifacts, quarantined remains, column caches, unfinished work.

Two things are removed only if the user asks for it: a snapshot, because labels can be restored from it, and a
quarantined artifact with an intact checkpoint. A folder with a file that is not ours is never removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.artifacts import Manifest
from agar_pipeline.errors import ArtifactError
from agar_pipeline.files import disk, locks
from agar_pipeline.ownership.home import is_stray, require_own
from agar_pipeline.ownership.scratch_folders import sweep_scratch
from agar_pipeline.store.faults import foreign_files
from agar_pipeline.store.folders import Store
from agar_pipeline.store.key import Key, use_lock, writer_lock
from agar_pipeline.store.quarantine import QUARANTINED, find_guarded
from agar_pipeline.store.unfinished import drop_work, foreign_work, older_work
from agar_pipeline.store.verify import SHORTEST_WORD, find_kept, targets_of

_COLUMNS = re.compile(r"[0-9a-f]{32}")
_OF_COLUMNS = re.compile(r"source\.json|[a-z0-9_]+(\.[a-z0-9]+)?\.npy")


@dataclass(frozen=True)
class Droppable:
    """One thing that `clean` would remove."""

    path: Path
    key: Key | None
    """None for quarantined folders and for column caches."""
    size_bytes: int
    is_work: bool = False
    """Whether it is the unfinished work of an interrupted training."""

    @property
    def kind(self) -> tuple[str, str]:
        """The noun for this kind of item, and its plural."""
        if self.key is not None:
            noun = "unfinished training" if self.is_work else "old artifact"
            return noun, f"{noun}s"
        if self.path.parent.name == "columns":
            return "cache of a COCO file", "caches of COCO files"
        return "quarantined item", "quarantined items"


@dataclass(frozen=True)
class Dropped:
    """The result of `drop`."""

    gone: list[Droppable]
    in_use: list[Droppable]
    """Kept, because a running process uses it or because something has come to refer to it since."""
    guarded: dict[Path, str]
    """Path that must not be removed → the reason."""


def find_droppable(store: Store, *, snapshots: bool = False, named: Sequence[str] = ()) -> list[Droppable]:
    """Return everything that may be removed.

    These are artifacts that no `latest` refers to and that no kept artifact was made from, quarantined remains, the
    column caches of imported or edited COCO files, and of each asset all unfinished work but the newest.

    Args:
        snapshots: Include old snapshots.
        named: Fingerprints (or their first letters) and names in quarantine that are included in any case.

    Raises:
        ArtifactError: a name matches none or several of the things that may be removed.
    """
    kept, guarded = find_kept(store), find_guarded(store.home)
    old = [(key, root) for key in store.assets() for root in store.roots(key) if root not in kept]
    aside, columns = (_entries(store.home / name) for name in ("quarantine", "columns"))
    chosen = _named(named, [root for _, root in old] + aside)
    found = [
        Droppable(root, key, disk.size_bytes(root))
        for key, root in old
        if snapshots or key.asset != "snapshot" or root in chosen
    ]
    found += [Droppable(path, None, disk.size_bytes(path)) for path in aside if path in chosen or path not in guarded]
    found += [Droppable(path, None, disk.size_bytes(path)) for path in columns if _COLUMNS.fullmatch(path.name)]
    return found + [Droppable(path, key, disk.size_bytes(path), is_work=True) for key, path in older_work(store)]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _named(words: Sequence[str], paths: Collection[Path]) -> set[Path]:
    chosen = set()
    for word in words:
        found = {path for path in paths if len(word) >= SHORTEST_WORD and path.name.startswith(word)}
        if len(found) != 1:
            raise ArtifactError(
                f"matches {len(found)} old artifacts and things in quarantine, but must match one; nothing was dropped",
                where="--drop",
                value=word,
                next_step="give more letters of one that `agar clean` lists; what is current or kept cannot be dropped",
            )
        chosen |= found
    return chosen


def drop(store: Store, chosen: Collection[Droppable]) -> Dropped:
    """Remove things that `find_droppable` returned.

    Skipped are those that a running process uses, that something refers to by now, or that hold a foreign file.
    """
    require_own(store.home)
    store.sweep()
    sweep_scratch(store.home)
    done = Dropped([], [], {})
    targets, kept = targets_of(store), find_kept(store)
    for item in chosen:
        if (why := _not_ours(item)) is not None:
            done.guarded[item.path] = why
        elif item.is_work:
            (done.gone if drop_work(store, item.path) else done.in_use).append(item)
        elif item.key is None:
            disk.remove(item.path)
            done.gone.append(item)
        else:
            both = writer_lock(item.path), use_lock(item.path)
            with locks.free(*both) as is_free:
                if is_free and (now := targets_of(store)) != targets:
                    targets, kept = now, find_kept(store)
                if not is_free or item.path in kept:
                    done.in_use.append(item)
                elif item.path.exists():
                    _remove(item.path, both)
                    done.gone.append(item)
    return done


def _remove(root: Path, held: Iterable[Path]) -> None:
    draft = root.with_name(f".draft-{root.name}")
    disk.remove(draft)
    disk.remove(root.rename(draft))  # renamed first, so that no partial artifact has a published name
    for lock in held:
        disk.remove(lock)


def _not_ours(item: Droppable) -> str | None:
    """Return why something must not be removed even if the user names it; None if all of it is ours."""
    if item.key is None and not (QUARANTINED.fullmatch(item.path.name) or _COLUMNS.fullmatch(item.path.name)):
        return "it was not written by agar: move it away yourself"
    if item.is_work or (item.key is None and _COLUMNS.fullmatch(item.path.name)):
        foreign = foreign_work(item.path) if item.is_work else _foreign_columns(item.path)
        return f"{foreign[0]} in it was not written by agar: move it away first" if foreign else None
    try:
        foreign = foreign_files(item.path, Manifest.read(item.path))
    except (ArtifactError, OSError):
        damaged = "its manifest cannot be read: `agar verify` moves it to quarantine"
        return damaged if item.key is not None and item.path.exists() else None
    return f"{foreign[0]} in it was not written by agar: move it away first" if foreign else None


def _foreign_columns(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not _OF_COLUMNS.fullmatch(name) and not is_stray(name)]
