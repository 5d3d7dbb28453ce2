"""What the data is right now: one version over everything that a snapshot would read, without writing anything."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.config import SnapshotConfig, to_plain
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connect, open_database, version_notice
from agar_pipeline.fiftyone_io.database.settings import database_name
from agar_pipeline.fiftyone_io.reading.image_id_columns import (
    column_stages,
    describe_samples,
    read_image_columns,
)
from agar_pipeline.fiftyone_io.reading.mongo_columns import decode, decode_paths
from agar_pipeline.fiftyone_io.reading.query import Extent, find_extent, raw_batches
from agar_pipeline.fiftyone_io.reading.source import Resolve, ResolvedSource, explain_empty, resolved_source
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import progress_bar
from agar_pipeline.snapshot_files.batches import Columns
from agar_pipeline.snapshot_files.content_hash import ContentHash, Observation
from agar_pipeline.snapshot_files.file_hashes import FileHashes, FileMemory, stamp_files
from agar_pipeline.snapshot_files.image_ids import ImageColumns

CHILD = "agar_pipeline.fiftyone_io"
Log = Callable[[str], None]


def _no_log(text: str) -> None:
    del text


@dataclass(frozen=True)
class OpenSource:
    """A resolved source on a connected database."""

    samples: Collection
    source: ResolvedSource
    notice: str | None
    extent: Extent
    column_stages: dict[str, list[Any]]
    """What else is asked of the samples, for the split."""
    description: dict[str, Any]
    """Tags and fields, where a split may name them."""

    @property
    def root(self) -> str:
        return self.extent.root

    def image_columns(self) -> ImageColumns:
        return read_image_columns(self.samples, self.source, self.column_stages)


@dataclass
class Look:
    """What a pass saw, byte for byte: two equal ones, one after the other, mean that nothing moved in between."""

    _rows: Any = field(default_factory=hashlib.sha256)
    _files: Any = field(default_factory=hashlib.sha256)

    def update(self, batch: bytes, stamps: bytes) -> None:
        self._rows.update(batch)
        self._files.update(stamps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Look) and self._seen() == other._seen()

    def _seen(self) -> bytes:
        return self._rows.digest() + self._files.digest()


def observe_dataset(config: SnapshotConfig, home: Path) -> Observation:
    """Observe without importing FiftyOne, but for the first time a dataset, view or field is seen.

    Args:
        config: Which samples and boxes.
        home: Holds the embedded database and what is remembered.

    Raises:
        DatabaseError: the database cannot be reached or used.
        DatasetError: dataset, view or field do not exist; the view is empty; image files are missing.
    """
    with open_database(config.database, home) as uri:
        return observe_at(uri, config, home, resolver_in_child(uri))


def observe_at(uri: str, config: SnapshotConfig, home: Path, resolve: Resolve, log: Log = _no_log) -> Observation:
    """Observe the dataset in the database at `uri`.

    Raises:
        DatasetMovedError: images came or went meanwhile.
    """
    with open_source(uri, config, home, resolve) as opened:
        content = ContentHash()
        for _ in look_through(opened, home, content, Look(), log):
            pass
        version = opened.image_columns().version(content.version())
        return Observation(version, content.samples, content.boxes, opened.notice)


@contextlib.contextmanager
def open_source(uri: str, config: SnapshotConfig, home: Path, resolve: Resolve) -> Iterator[OpenSource]:
    """Connect, resolve, and find the images.

    Raises:
        DatasetError: there is nothing to read; the message lists what there is.
    """
    with connect(uri) as client:
        database: Database = client[database_name()]
        source = resolved_source(config, database, home, resolve)
        samples = database[source.collection]
        extent = find_extent(samples, source, config.images_dir)
        if not extent.samples:
            raise explain_empty(config, database)
        notice = version_notice(client) if config.database_notice else None
        stages = column_stages(config, database, home, resolve)
        description = describe_samples(config, database) if stages else {}
        yield OpenSource(samples, source, notice, extent, stages, description)


def look_through(
    opened: OpenSource, home: Path, content: ContentHash, look: Look, log: Log
) -> Iterator[tuple[Columns, FileHashes]]:
    """Batch by batch, the samples and their files; `content` and `look` are kept up to date.

    Raises:
        DatasetError: no image file is there at all.
        DatasetMovedError: images came or went meanwhile.
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
            f"none of the {absent} image files can be read, not even {columns.paths[0].as_py()!r} in {opened.root}\n"
            "see that the disk is mounted, or import the images again from where they are now"
        )


def look_again(opened: OpenSource) -> Look:
    """A second look at what a first one saw: nothing is decoded but the paths."""
    look = Look()
    for batch in raw_batches(opened.samples, opened.source):
        look.update(batch, stamp_files(absolute_paths(opened.root, decode_paths(batch, opened.root))))
    return look


def absolute_paths(root: str, paths: pa.Array) -> list[str]:
    start = root.rstrip("/") + "/"
    return [start + path for path in paths.to_pylist()]


def resolver_in_child(uri: str) -> Resolve:
    """A `resolve` that has FiftyOne imported in a process of its own."""

    def resolve(config: SnapshotConfig) -> ResolvedSource:
        reply = run_child(CHILD, {"do": "resolve", "config": to_plain(config), "uri": uri}, _no_log)
        return ResolvedSource(**reply)

    return resolve
