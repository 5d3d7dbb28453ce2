"""An artifact on its way into a home: written into a draft folder, then published by rename."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from agar_pipeline.artifacts import MANIFEST
from agar_pipeline.errors import StorageError
from agar_pipeline.files import disk, storage_errors
from agar_pipeline.store.key import Key, latest_of


@contextlib.contextmanager
def open_draft(home: Path, key: Key, root: Path) -> Iterator[Path]:
    """A folder to write to, gone again after any failure; a full disk is told with what was written until then.

    The caller holds the writer lock of `root`.
    """
    draft = root.with_name(f".draft-{root.name}")
    disk.remove(draft)  # we are the writer: whoever left one is gone
    draft.mkdir()
    try:
        yield draft
    except BaseException as error:
        written = disk.size_bytes(draft)
        shutil.rmtree(draft, ignore_errors=True)
        found = storage_errors.find_os_error(error) if isinstance(error, OSError | StorageError) else None
        if found is None:
            raise
        raise storage_errors.storage_error(found, root.parent, explain_need(home, key, written)) from found


def publish_draft(draft: Path, root: Path, manifest: bytes) -> None:
    """The files of a draft are there for good before its manifest is, and that before its name."""
    disk.sync_tree(draft)
    path = draft / MANIFEST
    path.write_bytes(manifest)
    disk.sync(path)
    disk.sync(draft)
    draft.rename(root)
    disk.sync(root.parent)


def explain_need(home: Path, key: Key, written: int) -> str:
    """How much space an artifact takes, bytes: as much as the one before, or more than what did not suffice."""
    latest = latest_of(home, key)
    last = disk.size_bytes(latest) if latest else 0
    if last > written:
        return f"{key} needs about {disk.show_bytes(last)}, as its last artifact does"
    return f"{key} needs more than the {disk.show_bytes(written)} that it had written"
