"""Writes an artifact into a draft folder of a home, then publishes it by rename."""

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
    """Yield an empty folder to write an artifact to, and remove it after any failure.

    If the disk is full, the error names how much had been written. The caller holds the writer lock of `root`.
    """
    draft = root.with_name(f".draft-{root.name}")
    disk.remove(draft)  # we hold the writer lock, so the process that left this draft has ended
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
    """Sync the files of a draft to disk, then write and sync its manifest, then rename the folder to `root`."""
    disk.sync_tree(draft)
    path = draft / MANIFEST
    path.write_bytes(manifest)
    disk.sync(path)
    disk.sync(draft)
    draft.rename(root)
    disk.sync(root.parent)


def explain_need(home: Path, key: Key, written: int) -> str:
    """Say how much space an artifact needs: the size of its latest version, or more than the `written` bytes."""
    latest = latest_of(home, key)
    last = disk.size_bytes(latest) if latest else 0
    if last > written:
        return f"{key} needs about {disk.show_bytes(last)}, the size of its last artifact"
    return f"{key} needs more than the {disk.show_bytes(written)} that it had written"
