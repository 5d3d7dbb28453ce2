"""Computes the data version of everything that a snapshot would read now, without writing anything."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pymongo.collection import Collection

from agar_pipeline.config import SnapshotConfig, to_plain
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected, open_database, version_notice
from agar_pipeline.fiftyone_io.database.revision import CHILD
from agar_pipeline.fiftyone_io.reading.image_id_columns import column_stages, read_image_columns
from agar_pipeline.fiftyone_io.reading.mongo_columns import decode, decode_paths
from agar_pipeline.fiftyone_io.reading.query import Extent, find_extent, raw_batches
from agar_pipeline.fiftyone_io.reading.source import (
    Resolve,
    ResolvedSource,
    describe_samples,
    explain_empty,
    resolved_source,
)
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log, progress_bar
from agar_pipeline.snapshot_files.content_hash import ContentHash, ObservedData
from agar_pipeline.snapshot_files.file_hashes import FileHashes, FileMemory, stamp_files
from agar_pipeline.snapshot_files.image_ids import ImageColumns
from agar_pipeline.snapshot_files.source_columns import Columns
from agar_pipeline.text.plurals import plural


def _no_log(text: str) -> None:
    del text


@dataclass(frozen=True)
class OpenSource:
    """A resolved source on a connected database, with the number and root folder of its images."""

    samples: Collection
    source: ResolvedSource
    notice: str | None
    extent: Extent
    column_stages: dict[str, list[Any]]
    """Column → Mongo stages of the columns that the split reads."""
    description: dict[str, Any]
    """Tags and field names of the dataset; empty if the split reads no columns."""

    @property
    def root(self) -> str:
        return self.extent.root

    def image_columns(self) -> ImageColumns:
        return read_image_columns(self.samples, self.source, self.column_stages)


@dataclass
class PassHash:
    """Hashes of all bytes that one pass read: two equal passes mean that the data did not change in between."""

    _rows: Any = field(default_factory=hashlib.sha256)
    _files: Any = field(default_factory=hashlib.sha256)

    def update(self, batch: bytes, stamps: bytes) -> None:
        self._rows.update(batch)
        self._files.update(stamps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PassHash) and self._seen() == other._seen()

    def _seen(self) -> bytes:
        return self._rows.digest() + self._files.digest()


def observe_dataset(config: SnapshotConfig, home: Path) -> ObservedData:
    """Compute the data version; FiftyOne is imported only if the view or label field was not resolved before.

    Args:
        home: Folder of the embedded database, the resolved sources and the remembered file hashes.

    Raises:
        DatabaseError: The database cannot be reached or used.
        DatasetError: The dataset, view or field does not exist, the view is empty, or image files are missing.
    """
    with open_database(config.database, home) as uri:
        return observe_at(uri, config, home, resolver_in_child(uri))


def observe_at(uri: str, config: SnapshotConfig, home: Path, resolve: Resolve, log: Log = _no_log) -> ObservedData:
    """Compute the data version of the dataset in the database at `uri`.

    Raises:
        DatasetMovedError: Images were added or removed meanwhile.
    """
    with open_source(uri, config, home, resolve) as opened:
        content = ContentHash()
        for _ in look_through(opened, home, content, PassHash(), log):
            pass
        version = opened.image_columns().version(content.version())
        return ObservedData(version, content.samples, content.boxes, opened.notice)


@contextlib.contextmanager
def open_source(uri: str, config: SnapshotConfig, home: Path, resolve: Resolve) -> Iterator[OpenSource]:
    """Connect to the database, resolve the source, and find the root folder and number of its images.

    Raises:
        DatasetError: There is no sample to read; the message lists what the dataset has.
    """
    with connected(uri) as database:
        source = resolved_source(config, database, home, resolve)
        samples = database[source.collection]
        extent = find_extent(samples, source, config.images_dir)
        if not extent.samples:
            raise explain_empty(config, database)
        notice = version_notice(database.client) if config.database_notice else None
        stages = column_stages(config, database, home, resolve)
        description = describe_samples(config, database) if stages else {}
        yield OpenSource(samples, source, notice, extent, stages, description)


def look_through(
    opened: OpenSource, home: Path, content: ContentHash, look: PassHash, log: Log
) -> Iterator[tuple[Columns, FileHashes]]:
    """Yield the samples and their files batch by batch, and add each batch to `content` and `look`.

    Raises:
        DatasetError: No image file exists at all.
        DatasetMovedError: Images were added or removed meanwhile.
    """
    absent, total = 0, opened.extent.samples
    with (
        progress_bar("looking at photos", log) as progress,
        FileMemory(home, on_read=lambda count: progress(content.samples + count, total)) as memory,
    ):
        for batch in raw_batches(opened.samples, opened.source):
            columns = decode(batch, opened.source, opened.root)
            files = memory.look_up(absolute_paths(opened.root, columns.paths))
            absent += files.sha256.count(None)
            look.update(batch, files.stamps)
            content.update(columns, files.sha256)
            progress(content.samples, total)
            yield columns, files
    if absent == content.samples:
        raise DatasetError(
            f"has none of {plural(absent, 'image file')}, or none can be read, not even {columns.paths[0].as_py()!r}",
            where=opened.root,
            next_step="check that the disk is mounted, or import the images again from where they are now",
        )


def look_again(opened: OpenSource) -> PassHash:
    """Read the data a second time to compare it with the first pass; only the paths are decoded."""
    look = PassHash()
    for batch in raw_batches(opened.samples, opened.source):
        look.update(batch, stamp_files(absolute_paths(opened.root, decode_paths(batch, opened.root))))
    return look


def absolute_paths(root: str, paths: pa.Array) -> list[str]:
    start = root.rstrip("/") + "/"
    return [start + path for path in paths.to_pylist()]


def resolver_in_child(uri: str) -> Resolve:
    """Return a `resolve` function that imports FiftyOne in a child process."""

    def resolve(config: SnapshotConfig) -> ResolvedSource:
        reply = run_child(CHILD, {"do": "resolve", "config": to_plain(config), "uri": uri}, _no_log)
        return ResolvedSource(**reply)

    return resolve
