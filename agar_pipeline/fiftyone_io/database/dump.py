"""Dumps a whole database to files of raw BSON and restores it: all collections, options and indexes, byte for byte.

Documents are not decoded, so that documents of another version of FiftyOne are restored unchanged. The database is
read twice: if both reads are equal, the dump is a consistent state; if they differ after all attempts, an error is
raised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.collection import Collection

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.database.connection import connect
from agar_pipeline.text.plurals import plural

COLLECTIONS = "collections.json"
"""File that lists the dumped collections with their names, files, options and indexes."""
_SYSTEMS = frozenset({"admin", "config", "local"})
_RAW = CodecOptions(document_class=RawBSONDocument)
_ATTEMPTS = 3
_BATCH, _BATCH_BYTES = 500, 16_000_000
_LAST = ("config", "datasets")
"""Collections that are inserted last, so that a dataset becomes visible only when it is complete."""


@dataclass(frozen=True)
class Dumped:
    """One dumped collection: its file, number of documents, SHA-256 of its content, options and indexes."""

    database: str
    name: str
    file: str
    count: int
    sha256: str
    options: dict[str, Any]
    indexes: list[dict[str, Any]]


def dump_database(uri: str, folder: Path) -> list[str]:
    """Write all collections into an empty folder and return the names of the datasets, sorted.

    Raises:
        DatabaseError: The database changed during all `_ATTEMPTS` attempts, or it holds a view or another kind that is
            not a plain collection.
    """
    with connect(uri) as client:
        for _ in range(_ATTEMPTS):
            found = [_dump(client, *each, folder) for each in enumerate(_collections(client))]
            again = [(d.database, d.name, d.sha256) for d in (_hash(client, *c) for c in _collections(client))]
            if again == [(each.database, each.name, each.sha256) for each in found]:
                (folder / COLLECTIONS).write_text(json_util.dumps([vars(each) for each in found], indent=1))
                return sorted({doc["name"] for doc in _named(client, found, "datasets")})
            for path in folder.iterdir():
                path.unlink()
    raise DatabaseError(
        f"changed each of the {_ATTEMPTS} times that it was read, because somebody writes into it; nothing was saved",
        where="the database",
        next_step="close FiftyOne's App, wait until imports have ended, then run the command again",
    )


def _collections(client: MongoClient) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for database in sorted(set(client.list_database_names()) - _SYSTEMS):
        for each in sorted(client[database].list_collections(), key=lambda each: each["name"]):
            if each["name"].startswith("system."):
                continue
            if each.get("type", "collection") != "collection":
                raise DatabaseError(
                    f"is a {each['type']}, which a backup cannot hold; nothing was saved",
                    where=f"{database}.{each['name']} of the database",
                    next_step="save the database with mongodump",
                )
            found.append((database, dict(each)))
    return found


def _dump(client: MongoClient, number: int, where: tuple[str, dict[str, Any]], folder: Path) -> Dumped:
    path = folder / f"{number:06d}.bson"
    with path.open("wb") as stream:
        return _hash(client, *where, path.name, stream.write)


def _hash(
    client: MongoClient,
    database: str,
    described: dict[str, Any],
    file: str = "",
    write: Callable[[bytes], Any] = len,
) -> Dumped:
    """Read a collection in order of `_id`, pass each raw batch to `write`, and hash and count its documents."""
    collection, digest, count = client[database][described["name"]], hashlib.sha256(), 0
    for batch in collection.find_raw_batches(sort=[("_id", 1)], batch_size=_BATCH):
        digest.update(batch)
        count += sum(1 for _ in _split(batch))
        write(batch)
    indexes = [dict(index) for index in collection.list_indexes() if index["name"] != "_id_"]
    options = described.get("options", {})
    return Dumped(database, described["name"], file, count, digest.hexdigest(), dict(options), indexes)


def _split(batch: bytes) -> Iterator[bytes]:
    """Yield the documents of a raw batch; each BSON document begins with its length in bytes as int32."""
    start = 0
    while start < len(batch):
        size = int.from_bytes(batch[start : start + 4], "little")
        yield batch[start : start + size]
        start += size


def read_dumped(folder: Path) -> list[Dumped]:
    """Read the list of collections that `dump_database` wrote.

    Raises:
        DatabaseError: The file is missing or is not such a list.
    """
    try:
        plain = json_util.loads((folder / COLLECTIONS).read_text())
        return [Dumped(**{**each, "indexes": [dict(index) for index in each["indexes"]]}) for each in plain]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatabaseError(
            f"is not a list of collections, because the backup was changed ({error!r})",
            where=folder / COLLECTIONS,
            next_step="restore another copy of the backup",
        ) from error


def restore_database(uri: str, folder: Path) -> int:
    """Insert the documents of a dump that are missing, datasets last, and return how many were inserted.

    On any error the inserted documents are removed again.

    Raises:
        DatabaseError: A document in the database differs from the dump afterwards.
    """
    dumped = sorted(read_dumped(folder), key=lambda each: _LAST.index(each.name) if each.name in _LAST else -1)
    inserted: list[tuple[Collection, list[Any]]] = []
    with connect(uri) as client:
        try:
            for each in dumped:
                _restore(client, each, folder / each.file, inserted)
            for each in dumped:
                _require_same(client[each.database][each.name], each, folder / each.file)
        except BaseException:
            for collection, ids in reversed(inserted):
                collection.delete_many({"_id": {"$in": ids}})
            raise
    return sum(len(ids) for _, ids in inserted)


def _restore(client: MongoClient, each: Dumped, path: Path, inserted: list[tuple[Collection, list[Any]]]) -> None:
    database = client[each.database]
    if each.name not in database.list_collection_names():
        database.create_collection(each.name, **each.options)
    collection = database[each.name]
    if each.name == "config" and collection.find_one({}) is not None:
        return
    for index in each.indexes:
        settings = {name: value for name, value in index.items() if name not in ("v", "key", "ns")}
        collection.create_index(list(index["key"].items()), **settings)
    for batch in read_batches(path):
        missing, _ = compare_documents(collection, batch)
        if missing:
            inserted.append((collection, [document["_id"] for document in missing]))
            collection.insert_many(missing, ordered=False)


def _require_same(collection: Collection, each: Dumped, path: Path) -> None:
    if each.name == "config":
        return
    for batch in read_batches(path):
        missing, other = compare_documents(collection, batch)
        if missing or other:
            raise DatabaseError(
                f"is not as it was saved: {plural(len(missing + other), 'changed document')}; nothing was restored",
                where=f"{each.name} in the database",
                next_step="run the command again when nobody writes into the database",
            )


def compare_documents(
    collection: Collection, batch: Sequence[RawBSONDocument]
) -> tuple[list[RawBSONDocument], list[RawBSONDocument]]:
    """Return the documents of a batch that the collection lacks, and those that have other content there."""
    ids = [document["_id"] for document in batch]
    there = {
        bson.encode({"_id": found["_id"]}): found.raw
        for found in collection.with_options(codec_options=_RAW).find({"_id": {"$in": ids}})
    }
    keys = [bson.encode({"_id": value}) for value in ids]
    missing = [document for key, document in zip(keys, batch, strict=True) if key not in there]
    other = [d for key, d in zip(keys, batch, strict=True) if key in there and there[key] != d.raw]
    return missing, other


def read_documents(path: Path) -> Iterator[RawBSONDocument]:
    with path.open("rb") as stream:
        yield from bson.decode_file_iter(stream, _RAW)


def read_batches(path: Path) -> Iterator[list[RawBSONDocument]]:
    """Yield the documents of one file of a dump in batches of at most 500 documents and about 16 MB."""
    batch: list[RawBSONDocument] = []
    size = 0
    for document in read_documents(path):
        batch.append(document)
        size += len(document.raw)
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _named(client: MongoClient, dumped: Sequence[Dumped], name: str) -> Iterator[dict[str, Any]]:
    for each in dumped:
        if each.name == name:
            yield from client[each.database][name].find({}, {"name": 1})
