"""Writes files into a user's folder that may already hold other files.

The files are written into a draft folder inside it and then renamed to their places, each one atomically. If the
process is killed at any moment, each file is either the old or the new one, and the list contains both, so that the
next run can continue.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from agar_pipeline.config.places import OURS, agar_home
from agar_pipeline.errors import StorageError, remedy
from agar_pipeline.files.locks import locked_folder
from agar_pipeline.files.storage_errors import clear_storage_errors
from agar_pipeline.ownership.draft_files import Draft
from agar_pipeline.ownership.made_list import MadeFile, MadeList, folders_of, is_part_of_list
from agar_pipeline.ownership.originals import Originals
from agar_pipeline.photos.formats import is_photo
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural

_SHOWN = 3
_DRAFT = f"{OURS}draft-"


class OwnFolder:
    """A user's folder in which we write for one purpose."""

    def __init__(self, root: Path, purpose: str, originals: Originals | None = None) -> None:
        """Args:
        root: The folder; it may not exist yet.
        purpose: The command that writes, as in `export-coco`.
        originals: Files that must not be lost.
        """
        self.root, self.purpose, self.originals = root, purpose, originals or Originals()

    def require_alone(self) -> None:
        """Raise StorageError if the folder holds files, but none was ever written into it for this purpose."""
        if not os.path.lexists(self.root):
            return
        self._require_folder()
        made = MadeList.read(self.root)
        if made is not None and self.purpose in made.purposes:
            return
        others = sorted(path.name for path in self.root.iterdir() if not is_part_of_list(path))
        if others:
            raise StorageError(
                f"holds other files ({name_some(others, _SHOWN)}); nothing was written",
                where=self.root,
                next_step=remedy("write to a new or an empty folder", option="give --out-dir a new or an empty folder"),
            )

    def require_writable(self, names: Iterable[str], *, whole: bool = False) -> None:
        """Raise StorageError, with the files in the way, unless these files can be written without harm to others.

        Args:
            names: Paths relative to the folder.
            whole: Whether files of this purpose with other names are to be removed.
        """
        self._require_folder()
        made = MadeList.read(self.root) or MadeList()
        names = list(names)
        self._require(made, names, self._stale(made, names) if whole else [])

    @contextlib.contextmanager
    def replacing(self, names: Iterable[str] = (), *, whole: bool = False) -> Iterator[Draft]:
        """Replace our files by those that the block writes into the draft.

        After an error in the block nothing is changed.

        Args:
            names: The files that will be written, as far as they are known; they are checked before anything is
                created.
            whole: Whether files of this purpose that are not written again are removed.

        Raises:
            StorageError: files that are not ours, or originals, are in the way; nothing was written.
        """
        self.require_writable(names, whole=whole)
        with clear_storage_errors(self.root):
            made_folders = _make_folders(self.root)
        try:
            with locked_folder(self.root):
                yield from self._replace(whole)
        finally:
            for folder in reversed(made_folders):
                with contextlib.suppress(OSError):
                    folder.rmdir()  # fails, and is skipped, if the folder is not empty

    def _replace(self, whole: bool) -> Iterator[Draft]:
        before = MadeList.read(self.root)
        made = before or MadeList()
        draft = self._begin(made)
        try:
            yield draft
            with clear_storage_errors(self.root):
                self._commit(made, draft, whole)
        finally:
            shutil.rmtree(draft.root, ignore_errors=True)
            made.draft = None
            with contextlib.suppress(OSError):  # if this fails, the draft stays listed, and the next run looks for it
                made.write(self.root) if before or made.files else made.remove(self.root)

    def _begin(self, made: MadeList) -> Draft:
        """Create an empty draft folder and list it before. The draft of a killed process is removed."""
        with clear_storage_errors(self.root):
            if made.draft is not None and made.draft.startswith(_DRAFT) and "/" not in made.draft:
                shutil.rmtree(self.root / made.draft, ignore_errors=True)
            made.draft = f"{_DRAFT}{secrets.token_hex(4)}"
            if self.purpose not in made.purposes:
                made.purposes.append(self.purpose)
            made.write(self.root)
            (self.root / made.draft).mkdir()
            return Draft(self.root / made.draft, self.root, made)

    def _commit(self, made: MadeList, draft: Draft, whole: bool) -> None:
        new = self._describe(draft)
        stale = self._stale(made, [*new, *draft.same]) if whole else []
        self._require(made, [*new, *draft.same], stale)
        going = {name for name in stale if made.is_ours(self.root, name)}
        draft.kept = [name for name in stale if name not in going and os.path.lexists(self.root / name)]
        made.folders += [name for name in folders_of(new) if not os.path.lexists(self.root / name)]
        for name, file in new.items():
            made.files[name] = [*made.files.get(name, ()), file]
        made.write(self.root)  # if the process is killed from here on, the old and the new file are both listed
        for name in new:
            self._place(draft.root / name, name, made)
        for name in going:
            self._remove(name, made)
        self._remove_folders(stale, made)
        for name in stale:
            del made.files[name]  # removed, or changed by a person
        for name, file in new.items():
            made.files[name] = [file]

    def _describe(self, draft: Draft) -> dict[str, MadeFile]:
        """Describe the drafts by name, in the order in which they are moved to their place.

        Photos come first and files in outer folders last, so that a file is moved after the files that it names.
        """
        cut = len(f"{draft.root}/")
        names = [f"{folder}/{name}"[cut:] for folder, _, files in os.walk(draft.root) for name in files]
        return {
            name: MadeFile.describe(draft.root / name, self.purpose, draft.sha256.get(name), draft.links.get(name))
            for name in sorted(names, key=lambda name: (not is_photo(name), -name.count("/"), name))
        }

    def _stale(self, made: MadeList, names: Iterable[str]) -> list[str]:
        wanted = set(names)
        return [
            name
            for name, files in made.files.items()
            if name not in wanted and any(f.by == self.purpose for f in files)
        ]

    def _require_folder(self) -> None:
        if os.path.lexists(self.root) and not self.root.is_dir():
            raise StorageError(
                "is not a folder",
                where=self.root,
                next_step=remedy("write to another folder", option="give --out-dir another folder"),
            )
        store = os.path.realpath(agar_home() / "artifacts")
        if Path(os.path.realpath(self.root)).is_relative_to(store):
            raise StorageError(
                f"belongs to the artifacts of the home {agar_home()}",
                where=self.root,
                next_step=remedy("write to another folder", option="give --out-dir another folder"),
            )

    def _require(self, made: MadeList, names: Sequence[str], stale: Sequence[str]) -> None:
        going = [name for name in stale if made.is_ours(self.root, name)]
        hit = [name for name in (*names, *going) if self.originals.hit_by(self.root / name)]
        if hit:
            raise StorageError(
                f"holds original photos or inputs that would be replaced or removed ({name_some(hit, _SHOWN)}); "
                "nothing was written",
                where=self.root,
                next_step=remedy("write to another folder", option="give --out-dir another folder"),
            )
        linked = {folder for folder in folders_of(names) if not _may_hold_files(self.root / folder)}
        blocked = [f"{name} {why}" for name in names if (why := self._why_not(made, name, linked))]
        if blocked:
            raise StorageError(
                f"holds {plural(len(blocked), 'file')} in the way: {name_some(blocked, _SHOWN)}; nothing was written",
                where=self.root,
                next_step="move them away, or "
                + remedy("write to another folder", option="give --out-dir another folder"),
            )

    def _why_not(self, made: MadeList, name: str, linked: Collection[str] = ()) -> str:
        """Say why a file cannot be written under a name; empty if it can.

        `linked`: folders that must not be written to.
        """
        behind = next((folder for folder in folders_of([name]) if folder in linked), None) if linked else None
        if behind:
            return f"would be written through {behind}, which is a link or a file"
        if not os.path.lexists(self.root / name) or made.is_ours(self.root, name):
            return ""
        return "was changed since agar wrote it" if name in made.files else "was not written by agar"

    def _place(self, draft: Path, name: str, made: MadeList) -> None:
        """Rename a draft to its place. A file that was created there in the meantime is not replaced."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if why := self._why_not(made, name):  # its folders were checked a moment ago
            raise StorageError(
                f"{why}: another program wrote it just now", where=path, next_step="run the command again"
            )
        draft.replace(path)

    def _remove(self, name: str, made: MadeList) -> None:
        if made.is_ours(self.root, name):
            (self.root / name).unlink()

    def _remove_folders(self, names: Iterable[str], made: MadeList) -> None:
        for folder in reversed(folders_of(names)):
            if folder in made.folders:
                with contextlib.suppress(OSError):  # it contains files of others
                    (self.root / folder).rmdir()
                    made.folders.remove(folder)


def _may_hold_files(path: Path) -> bool:
    return not os.path.lexists(path) or (path.is_dir() and not path.is_symlink())


def _make_folders(root: Path) -> list[Path]:
    """Create a folder and its parents; return those that did not exist, outer ones first."""
    missing = [folder for folder in (root, *root.absolute().parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
