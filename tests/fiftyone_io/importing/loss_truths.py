"""What a person made, and that it is all there after each command: files by hash, documents as they are stored.

Truths are kept here, and not read from what the software remembers. Not here: what happens (`loss_world`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bson import ObjectId, encode

from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from tests.fiftyone_io.importing.import_world import ImportWorld

RUNS = [SimpleNamespace(name=f"agar_e_{letter * 8}", fingerprint=letter * 32) for letter in "ab"]
EDITED_BY_VIEW = (*(name for run in RUNS for name in RunFields(run.name).names), "last_modified_at")
EDITED_BY_REVIEW = ("agar_suspects", "ground_truth_reviewed")
Identity = tuple[int, int]
"""Device and inode."""


def files_in(folder: Path) -> dict[Path, str]:
    """File → sha256, or where it points to; links are not followed."""
    paths = (Path(root, name) for root, folders, names in os.walk(folder) for name in (*names, *folders))
    return {path: _content(path) for path in paths if path.is_symlink() or path.is_file()}


def _identity(path: Path) -> Identity:
    stat = path.lstat()
    return stat.st_dev, stat.st_ino


def _content(path: Path) -> str:
    return f"→ {path.readlink()}" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()


class Truths(ImportWorld):
    """Hashes and documents of everything that a person made or changed."""

    def __init__(self, place: Path, home: Path, dataset: str, database: Any, *more: Any) -> None:
        self.home, self.database = home, database
        self.ours: dict[Path, str | Identity] = {}
        """What exports made: its content, or, of a hard link of a photo, which file it is."""
        self.photos: set[Identity] = set()
        self.known_names = {dataset}
        self.restored: dict[tuple[str, ObjectId], dict[str, Any]] = {}
        self.predictions: dict[tuple[ObjectId, str], dict[str, Any]] = {}
        self.snapshots: dict[Path, dict[Path, str]] = {}
        super().__init__(place, dataset, *more)

    # What holds around every command

    @contextlib.contextmanager
    def _command(self, out: Path | None = None) -> Iterator[None]:
        before = files_in(self.place)
        used = {row["filepath"] for name in self.known_names for row in self._samples(name).find()}
        theirs = {
            path: content
            for path, content in before.items()
            if self.ours.get(path) not in (content, _identity(path)) or str(path) in used
        }
        names = self._names_of(before)
        self.photos = {one for one in self.photos if one in names} | {
            one for one, paths in names.items() if any(path in theirs for path in paths)
        }
        made = {path: _identity(path) for path in self.ours if path in before and path not in theirs}
        yield
        after = files_in(self.place)
        for path, content in theirs.items():
            assert after.get(path) == content, f"{path} of a person was changed or removed"
        assert not self.photos - self._names_of(after).keys(), "the last name of a photo was removed"
        new = {path: content for path, content in after.items() if before.get(path) != content}
        for path in new:
            where = out or self.home
            assert path.is_relative_to(where), f"{path} was written where nobody asked for it"
        self.ours = {path: made for path, made in self.ours.items() if path in after}
        again = [path for path, one in made.items() if path in after and _identity(path) != one]
        made_now = {path: after[path] for path in (*new, *again)}  # a link is replaced by a copy of equal content
        self.ours |= {path: _identity(path) if _identity(path) in self.photos else made_now[path] for path in made_now}
        self._require_documents()

    def _names_of(self, files: dict[Path, str]) -> dict[Identity, list[Path]]:
        names: dict[Identity, list[Path]] = {}
        for path in files:
            if path.suffix == ".jpg" and not path.is_symlink():
                names.setdefault(_identity(path), []).append(path)
        return names

    def _samples(self, dataset: str) -> Any:
        document = self.database.datasets.find_one({"name": dataset})
        return self.database[document["sample_collection_name"] if document else "samples.none"]

    def _require_documents(self) -> None:
        self._require_work_of_hands({row["_id"]: row for row in self.samples.find()})
        for (name, identity), row in self.restored.items():
            there = self._samples(name).find_one({"_id": identity})
            assert there is not None, f"a sample of {name} was removed"
            assert encode(there) == encode(row), f"a sample of {name} was changed"  # a box may hold NaN, which differs
        for root, files in self.snapshots.items():
            assert files_in(root) == files, "a snapshot was changed or dropped"

    def _require_work_of_hands(self, after: dict[ObjectId, Any]) -> None:
        for (identity, _), values in self.predictions.items():
            row = after[identity]
            assert {name: row.get(name) for name in values} == values, "edited predictions were changed"
        own, self.own = self.own, {}
        super()._require_work_of_hands(after)
        self.own = own
        for identity, row in own.items():
            assert without_view(after[identity]) == without_view(row), "a sample that no import made was changed"

    def renames(self, old: Path, new: Path) -> None:
        super().renames(old, new)
        moved = {new / path.relative_to(old): path for path in self.ours if path.is_relative_to(old)}
        self.ours |= {path: self.ours.pop(earlier) for path, earlier in moved.items()}

    def _forget(self, identity: ObjectId) -> None:
        for known in (self.labels_by_hand, self.fields_by_hand, self.own):
            known.pop(identity, None)
        for run in RUNS:
            self.predictions.pop((identity, run.name), None)


def without_view(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in (*EDITED_BY_VIEW, *EDITED_BY_REVIEW)}
