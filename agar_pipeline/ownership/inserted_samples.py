"""Inserts samples into a dataset such that they can be removed again: each one is listed before it is inserted.

The lists are in the database and not in the home, because homes on several machines share a database. The collection
`agar_claims` has one document per dataset with the process that inserts into it; it is created and taken over
atomically. The collection `agar_insertions` has the ids of the samples, with the digest of each one as we wrote it. A
sample that differs from its digest was edited by a person and is kept. FiftyOne ignores collections that it does not
know. Both collections are empty when no process is inserting.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
from bson import CodecOptions, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from agar_pipeline.errors import DatasetError
from agar_pipeline.progress import Log
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural

CLAIMS, INSERTIONS = "agar_claims", "agar_insertions"
ALIVE = timedelta(minutes=2)
"""How long a claim of another machine is valid after its last update. On this machine the process is looked up instead.
"""
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


@dataclass
class TakenBack:
    """The result of `Insertions.take_back`."""

    removed: int = 0
    kept: list[str] = field(default_factory=list)
    """File paths of the samples that are not as we wrote them: edited since, or inserted by another process under these
    ids."""


@dataclass
class Insertions:
    """The right to insert into one dataset, and access to the list of what was inserted."""

    database: Database
    dataset: str
    token: ObjectId

    def insert(self, samples: Collection, documents: list[dict[str, Any]]) -> None:
        """List these samples, then insert them.

        Raises:
            DatasetError: samples with these ids exist already, or another process took the dataset over.
        """
        self._sign({"alive_at": _server_time(self.database)})
        self.database[INSERTIONS].insert_one(
            {
                "dataset": self.dataset,
                "token": self.token,
                "collection": samples.name,
                "ids": [document["_id"] for document in documents],
                "digests": [_digest(bson.encode(document)) for document in documents],
            }
        )
        try:
            samples.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            raise DatasetError(
                f"already holds {len(error.details['writeErrors'])} of {plural(len(documents), 'sample')}, because "
                "somebody else inserted them meanwhile",
                where=f"dataset {self.dataset!r}",
                next_step="choose another name with --dataset",
            ) from error

    def take_back(self, *, of_others: bool = False) -> TakenBack:
        """Remove the listed samples that are still as they were written, and delete the lists.

        Args:
            of_others: Whether to remove all listed samples of the dataset, not only those that this process inserted.
        """
        result, listed = TakenBack(), self.database[INSERTIONS]
        for entry in list(listed.find({"dataset": self.dataset, **({} if of_others else {"token": self.token})})):
            _remove_unedited(self.database, entry, result)
            listed.delete_one({"_id": entry["_id"]})
        if result.removed:
            deletion = {"$set": {"last_deletion_at": _server_time(self.database)}}
            self.database.datasets.update_one({"name": self.dataset}, deletion)
        return result

    def complete(self) -> None:
        """End the insertion: from now on the samples belong to the dataset.

        Raises:
            DatasetError: another process took the dataset over.
        """
        self._sign({"done": True})
        self.database[INSERTIONS].delete_many({"dataset": self.dataset, "token": self.token})
        self.release()

    def release(self) -> None:
        """Delete the claim, unless another process took the dataset over."""
        self.database[CLAIMS].delete_one({"_id": self.dataset, "token": self.token})

    def _sign(self, values: dict[str, Any]) -> None:
        claim = {"_id": self.dataset, "token": self.token}
        if not self.database[CLAIMS].update_one(claim, {"$set": values}).matched_count:
            raise DatasetError(
                "was taken over by another process, because this one stood still for too long; "
                "what this one had inserted was removed again",
                where=f"dataset {self.dataset!r}",
                next_step="check that the other process has ended well",
            )


@contextlib.contextmanager
def insertions_into(database: Database, dataset: str, log: Log) -> Iterator[Insertions]:
    """Claim a dataset for the block, and first remove what a dead process left in it.

    An error removes this one's samples.

    Raises:
        DatasetError: another process, here or on another machine, is inserting into it.
    """
    insertions = _claim(database, dataset)
    _say(insertions.take_back(of_others=True), f"an interrupted restore into dataset {dataset!r}", log)
    try:
        yield insertions
    except BaseException:
        _say(insertions.take_back(), f"this restore into dataset {dataset!r}", log)
        insertions.release()
        raise
    insertions.complete()


def is_claimed(database: Database, dataset: str) -> bool:
    """Whether a process is inserting into the dataset, or died while doing so."""
    return database[CLAIMS].find_one({"_id": dataset}, {"_id": 1}) is not None


def find_unfinished(database: Database, dataset: str) -> DatasetError | None:
    """Return an error that says why a dataset contains only a part of what is inserted; None if it is complete."""
    claim = database[CLAIMS].find_one({"_id": dataset, "done": {"$ne": True}})
    if claim is None:
        return None
    if _is_alive(claim, database):
        return DatasetError(
            f"holds only a part of a snapshot: {_who(claim)} is restoring the rest",
            where=f"dataset {dataset!r}",
            next_step="wait until that process has ended",
        )
    return DatasetError(
        f"holds only a part of a snapshot, because a restore into it was interrupted ({_who(claim)})",
        where=f"dataset {dataset!r}",
        next_step="run the same `agar restore` again, which removes that part first, or delete the dataset",
    )


def _claim(database: Database, dataset: str) -> Insertions:
    token = ObjectId()
    while True:
        mine = {"token": token, "by": _this_process(), "alive_at": _server_time(database), "done": False}
        with contextlib.suppress(DuplicateKeyError):
            database[CLAIMS].insert_one({"_id": dataset, **mine})
            return Insertions(database, dataset, token)
        other = database[CLAIMS].find_one({"_id": dataset})
        if other is None:  # the other process has just ended
            continue
        if _is_alive(other, database):
            raise DatasetError(
                f"is receiving a snapshot from {_who(other)}; nothing was restored",
                where=f"dataset {dataset!r}",
                next_step="wait until that process has ended, or choose another name with --dataset",
            )
        unchanged = {key: other[key] for key in ("_id", "token", "alive_at")}
        if database[CLAIMS].update_one(unchanged, {"$set": mine}).matched_count:
            if other["done"]:  # it died after its last sample, before its list was deleted
                database[INSERTIONS].delete_many({"dataset": dataset})
            return Insertions(database, dataset, token)


def _remove_unedited(database: Database, entry: dict[str, Any], result: TakenBack) -> None:
    """Delete the samples that match their digest. The server compares each one as a whole again when it deletes it."""
    samples = database.get_collection(entry["collection"], codec_options=_RAW)
    digests = dict(zip(entry["ids"], entry["digests"], strict=True))
    found = list(samples.find({"_id": {"$in": entry["ids"]}}))
    ours = [sample for sample in found if _digest(sample.raw) == digests[sample["_id"]]]
    same = [{"_id": sample["_id"], "$expr": {"$eq": ["$$ROOT", {"$literal": sample}]}} for sample in ours]
    if same:
        result.removed += samples.bulk_write([DeleteOne(condition) for condition in same], ordered=False).deleted_count
    left = samples.find({"_id": {"$in": [sample["_id"] for sample in found]}}, {"filepath": 1})
    result.kept += [str(sample.get("filepath")) for sample in left]


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _say(result: TakenBack, what: str, log: Log) -> None:
    if result.removed:
        log(f"note: samples of {what} that were removed again: {result.removed}")
    if result.kept:
        names = name_some([Path(path).name for path in result.kept])
        log(
            f"note: samples of {what} that were kept, because somebody changed them meanwhile: "
            f"{len(result.kept)} ({names})"
        )


def _server_time(database: Database) -> datetime:
    """Return the time of the server, which is the same clock for all machines."""
    return database.client.admin.command("hello")["localTime"]


def _this_process() -> dict[str, Any]:
    import psutil

    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "process": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def _machine() -> str:
    """Identify the processes that see each other's ids: one boot of one machine, outside or in one container."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _is_alive(claim: dict[str, Any], database: Database) -> bool:
    import psutil

    by = claim["by"]
    if by["machine"] != _machine():
        return bool(_server_time(database) - claim["alive_at"] < ALIVE)
    try:
        return bool(abs(psutil.Process(by["process"]).create_time() - by["started"]) < 1)
    except psutil.Error:
        return False


def _who(claim: dict[str, Any]) -> str:
    since = claim["alive_at"].replace(tzinfo=UTC).astimezone()
    return f"process {claim['by']['process']} on {claim['by']['host']} (last seen {since:%Y-%m-%d %H:%M:%S})"
