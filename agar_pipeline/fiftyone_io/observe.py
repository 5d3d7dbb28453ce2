"""What the data is right now: one version over everything that a snapshot would read, without writing anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.config import SnapshotConfig, to_plain
from agar_pipeline.fiftyone_io.columns import ContentHash, SamplePaths, raw_batches, read_paths
from agar_pipeline.fiftyone_io.database import connect, open_database, own_service, version_notice
from agar_pipeline.fiftyone_io.file_hashes import hash_files
from agar_pipeline.fiftyone_io.settings import database_name
from agar_pipeline.fiftyone_io.source import Resolve, ResolvedSource, explain_empty, resolved_source
from agar_pipeline.launch import run_child

CHILD = "agar_pipeline.fiftyone_io"


@dataclass(frozen=True)
class Observation:
    """The state of a dataset or view."""

    version: str
    """Hash of samples, boxes and image files; free of times, hosts, absolute paths and label ids."""
    samples: int
    boxes: int
    notice: str | None
    """What FiftyOne would warn about, in one line; it blocks nothing."""


@dataclass(frozen=True)
class OpenSource:
    """A resolved source on a connected database."""

    samples: Collection
    source: ResolvedSource
    notice: str | None
    paths: SamplePaths


def observe_dataset(config: SnapshotConfig, home: Path) -> Observation:
    """Observe without importing FiftyOne, but for the first time a dataset, view or field is seen.

    Args:
        config: Which samples and boxes.
        home: Holds the embedded database and what is remembered.

    Raises:
        DatabaseError: the database cannot be reached or used.
        DatasetError: dataset, view or field do not exist; the view is empty; image files are missing.
    """
    if own_service(config.database):  # only FiftyOne itself can start it, and it ends with its last client
        request = {"do": "observe", "config": to_plain(config), "home": str(home)}
        return Observation(**run_child(CHILD, request, _no_log))
    with open_database(config.database, home) as uri:
        return observe_at(uri, config, home, resolver_in_child(uri))


def observe_at(uri: str, config: SnapshotConfig, home: Path, resolve: Resolve) -> Observation:
    """Observe the dataset in the database at `uri`."""
    with open_source(uri, config, home, resolve) as opened:
        version = observe_content(opened, home)
        return Observation(version, len(opened.paths.relative), _count_boxes(opened), opened.notice)


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
        paths = read_paths(samples, source, config.images_dir)
        if not paths.relative:
            raise explain_empty(config, database)
        notice = version_notice(client) if config.database_notice else None
        yield OpenSource(samples, source, notice, paths)


def observe_content(opened: OpenSource, home: Path) -> str:
    """The version of what is in the database and in the image files now."""
    files = hash_files(opened.paths.absolute(), home)
    content = ContentHash()
    for batch in raw_batches(opened.samples, opened.source, opened.paths.root):
        content.update(batch)
    return content.version(files.sha256)


def observe_again(opened: OpenSource, config: SnapshotConfig, home: Path) -> str | None:
    """The version now, on a connection opened a while ago; None where samples came or went since."""
    if read_paths(opened.samples, opened.source, config.images_dir) != opened.paths:
        return None
    return observe_content(opened, home)


def resolver_in_child(uri: str) -> Resolve:
    """A `resolve` that has FiftyOne imported in a process of its own."""

    def resolve(config: SnapshotConfig) -> ResolvedSource:
        reply = run_child(CHILD, {"do": "resolve", "config": to_plain(config), "uri": uri}, _no_log)
        return ResolvedSource(**reply)

    return resolve


def _count_boxes(opened: OpenSource) -> int:
    path = f"${opened.source.label_path}"
    size = {"$cond": [{"$isArray": path}, {"$size": path}, 0]}
    rows = opened.samples.aggregate([*opened.source.stages, {"$group": {"_id": None, "boxes": {"$sum": size}}}])
    return next((int(row["boxes"]) for row in rows), 0)


def _no_log(text: str) -> None:
    del text
