"""What of a dump cannot be put into a database, because something else has its place: in the words of datasets.

A person knows datasets by their names; the collections behind them have names that FiftyOne made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from agar_pipeline.fiftyone_io.database.connection import connect
from agar_pipeline.fiftyone_io.database.dump import Dumped, compare_documents, read_batches, read_documents, read_dumped

_SAMPLES = ("sample_collection_name", "frame_collection_name")


def find_conflicts(uri: str, folder: Path) -> list[str]:
    """What is other there, dataset by dataset; documents that are equal are no conflict.

    Args:
        uri: Of the database that shall be filled.
        folder: Of the dump.
    """
    dumped = read_dumped(folder)
    found: list[str] = []
    counts: Counter[str] = Counter()
    names = _dataset_names(dumped, folder)
    with connect(uri) as client:
        for each in dumped:
            collection = client[each.database][each.name]
            if each.name == "config":
                found += _other_version(collection, folder / each.file)
                continue
            if each.name == "datasets":
                counts.update(_taken_names(collection, folder / each.file))
            for batch in read_batches(folder / each.file):
                _, other = compare_documents(collection, batch)
                counts.update(_owner(each, document, names) for document in other)
    return [*sorted(set(found)), *(_counted(owner, count) for owner, count in sorted(counts.items()))]


def _dataset_names(dumped: Iterable[Dumped], folder: Path) -> dict[Any, str]:
    """The id of each dataset, and each collection of its samples → its name."""
    names: dict[Any, str] = {}
    for each in dumped:
        if each.name == "datasets":
            for document in read_documents(folder / each.file):
                keys = (document["_id"], *(document.get(key) for key in _SAMPLES))
                names |= {key: str(document["name"]) for key in keys if key is not None}
    return names


def _taken_names(collection: Collection, path: Path) -> list[str]:
    """Datasets of the dump whose name another dataset has there."""
    mine = {document["name"]: document["_id"] for document in read_documents(path)}
    there = collection.find({"name": {"$in": list(mine)}}, {"name": 1})
    return [f"another dataset {doc['name']!r}" for doc in there if doc["_id"] != mine[doc["name"]]]


def _owner(each: Dumped, document: RawBSONDocument, names: Mapping[Any, str]) -> str:
    """The dataset that a document belongs to; of what belongs to none, what it is."""
    if each.name == "datasets":
        return f"dataset {document['name']!r}"
    name = names.get(each.name) or names.get(document.get("_dataset_id"))
    return f"dataset {name!r}" if name else f"{each.name} {document['_id']}"


def _counted(owner: str, count: int) -> str:
    if not owner.startswith("dataset "):
        return owner
    return f"{owner} ({count} {'document differs' if count == 1 else 'documents differ'})"


def _other_version(collection: Collection, path: Path) -> list[str]:
    """FiftyOne keeps one document there, which says what version the whole database is of."""
    there = collection.find_one({})
    mine = next(iter(read_documents(path)), None)
    if there is None or mine is None or there.get("version") == mine.get("version"):
        return []
    return [f"a database of FiftyOne {there.get('version')}, the backup's is of {mine.get('version')}"]
