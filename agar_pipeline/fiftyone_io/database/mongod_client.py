"""Attaches to, or starts, our own mongod: shared by all our processes with the same data, closed to other users.

It listens only on a Unix socket in a folder of mode 0700 and on no port, so that it needs no password. FiftyOne's own
service cannot serve a home: its clients attach to any mongod that runs for this user, regardless of its data folder,
and it listens on a port that every user of the machine can reach. Here: the home's database, attaching to a mongod, and
starting its `mongod_keeper`. Not here: the database of the user's own FiftyOne (`fiftyone_service`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pymongo
from pymongo.errors import PyMongoError

from agar_pipeline.config import database_idle_s
from agar_pipeline.errors import DatabaseError, StorageError, from_fields
from agar_pipeline.fiftyone_io.database.settings import mongod_path
from agar_pipeline.files import disk
from agar_pipeline.files.locks import lock_within
from agar_pipeline.files.private_files import open_private, private_folder, require_private_folder
from agar_pipeline.ownership.home import open_home

OPTIONS = "directConnection=true&journal=true"
"""Options in the addresses of databases on this machine. journal: a write is acknowledged when it is in the journal.
Otherwise mongod writes its journal ten times a second, and a crash within that time would lose acknowledged writes."""
START_S = 25.0
ANSWER_S = 3.0
_LEAST_ROOM_BYTES = 500_000
"""Least free bytes on the disk: with less, the lock and log files of the start cannot be written."""
_POLL_S = 0.02


@dataclass(frozen=True)
class OwnMongod:
    """Describes a mongod of ours: the data it serves, and the folder of its locks, socket and log."""

    name: str
    """Its name in messages."""
    state: Path
    """Folder of locks, log and socket that only this user can open; an absolute path without symbolic links."""
    data: Path
    idle_s: float
    """Seconds without a client after which mongod is shut down."""


@contextlib.contextmanager
def embedded_database(home: Path) -> Iterator[str]:
    """Attach to the home's mongod, or start it, and yield its address; it runs while any process is in the block.

    Raises:
        DatabaseError: mongod cannot be started or does not answer.
        StorageError: The home is not writable, or another user could open the database's folder.
    """
    folder = open_home(home.resolve()) / "fiftyone"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = folder.resolve()
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror}), but the embedded database has its files there",
            where=folder,
            next_step="set AGAR_HOME to a folder that you can write",
        ) from error
    with attached(OwnMongod("the embedded database", folder, folder / "db", database_idle_s())) as uri:
        yield uri


@contextlib.contextmanager
def attached(mongod: OwnMongod) -> Iterator[str]:
    """Yield the address of the running mongod, which is started if none runs.

    mongod runs as long as any process is inside the block, because each holds a shared lock on `clients.lock`.

    Raises:
        DatabaseError: mongod cannot be started or does not answer.
        StorageError: Its folder is not writable, or another user could open it.
    """
    try:
        if mongod.state.is_relative_to(mongod.data):
            mongod.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_folder(mongod.state)
        mongod.data.mkdir(exist_ok=True, mode=0o700)
        lock = open_private(mongod.state / "clients.lock")
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror}), but {mongod.name} has its locks and its log there",
            where=mongod.state,
            next_step="make it writable, or set AGAR_HOME to a folder that you can write",
        ) from error
    with lock:
        try:
            held = lock_within(lock, START_S, shared=True)  # waits only while a keeper is shutting down
        except OSError as error:
            raise DatabaseError(
                f"is on a file system without locks ({error})",
                where=mongod.state,
                next_step="set AGAR_HOME to a local disk",
            ) from error
        if not held:
            raise DatabaseError(
                f"has been shutting down for {START_S:g} s, because its last client ended",
                where=f"{mongod.name} in {mongod.data}",
                next_step="run the command again",
            )
        yield _attach(mongod) or _start(mongod)


def ask_data_folder(uri: str) -> str:
    """Ask the mongod at an address for the data folder that it serves."""
    milliseconds = int(1000 * ANSWER_S)
    with pymongo.MongoClient(
        uri, serverSelectionTimeoutMS=milliseconds, socketTimeoutMS=milliseconds, retryReads=False
    ) as client:
        return str(client.admin.command("getCmdLineOpts")["parsed"]["storage"]["dbPath"])


def _start(mongod: OwnMongod) -> str:
    state = mongod.state
    if (room := shutil.disk_usage(mongod.data).free) < _LEAST_ROOM_BYTES:
        raise StorageError(
            f"cannot start, because only {disk.show_bytes(room)} are free; what is in the database is intact",
            where=f"{mongod.name} in {mongod.data}",
            next_step="free some space (`agar clean`), or set AGAR_HOME to a larger disk",
        )
    command = [sys.executable, "-P", "-m", "agar_pipeline.fiftyone_io.database.mongod_keeper"]
    command += [str(mongod_path()), str(state), str(mongod.data), str(mongod.idle_s)]
    with open_private(state / "start.lock") as lock:
        if not lock_within(lock, START_S):
            raise DatabaseError(
                f"has been started by another process for {START_S:g} s, and does not run yet",
                where=f"{mongod.name} in {mongod.data}",
                next_step=f"run the command again; if it fails again, read {state / 'mongod.log'}",
            )
        uri = _attach(mongod)  # another process may have started it during the wait
        if uri is not None:
            return uri
        (state / "server.json").unlink(missing_ok=True)
        with open_private(state / "keeper.log") as output:
            output.truncate()
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, check=False
            )
        return _wait_for(mongod)


def _wait_for(mongod: OwnMongod) -> str:
    log = mongod.state / "mongod.log"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        plain = _server(mongod)
        if isinstance(fields := plain.get("error"), dict):
            raise from_fields(fields)
        if plain:
            uri = _attach(mongod)
            if uri is not None:
                return uri
        time.sleep(_POLL_S)
    raise DatabaseError(
        f"did not answer within {START_S:g} s after its start",
        where=f"mongod in {mongod.data}",
        next_step=f"run the command again; if it fails again, read {log} and {mongod.state / 'keeper.log'}",
    )


def _server(mongod: OwnMongod) -> dict[str, object]:
    try:
        plain = json.loads((mongod.state / "server.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _attach(mongod: OwnMongod) -> str | None:
    """Return the address of the running mongod after it has confirmed its data folder; None if none runs.

    Raises:
        DatabaseError: Our mongod runs but does not answer.
        StorageError: Another user could have created the socket.
    """
    server = _server(mongod)
    if "socket" not in server or not _has_keeper(mongod):
        return None
    path = Path(str(server["socket"]))
    with contextlib.suppress(FileNotFoundError):
        require_private_folder(path.parent)
    if not _listens(path):
        return None
    uri = f"mongodb://{quote(str(path), safe='')}/?{OPTIONS}"
    try:
        serves_it = ask_data_folder(uri) == str(mongod.data)
        return uri if serves_it and _has_keeper(mongod) else None  # the keeper may have been killed meanwhile
    except PyMongoError as error:
        if _listens(path) and _is_mongod(server.get("pid"), mongod.data):
            raise DatabaseError(
                f"does not answer within {ANSWER_S:g} s, because it is stopped or stuck",
                where=f"{mongod.name} (process {server['pid']})",
                next_step=f"end it with `kill -9 {server['pid']}`, which loses no data, then run the command again",
            ) from error
        return None  # mongod is shutting down


def _has_keeper(mongod: OwnMongod) -> bool:
    """Whether a keeper runs: it holds its lock until it ends, and a mongod without a keeper is about to end."""
    with open_private(mongod.state / "keeper.lock") as lock:
        return not lock_within(lock, 0, shared=True)


def _listens(path: Path) -> bool:
    """Whether a process listens on the socket; checked first, because pymongo would retry for seconds."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_S)
        return probe.connect_ex(str(path)) in {0, errno.EAGAIN}  # EAGAIN: a process listens, its queue is full


def _is_mongod(pid: object, data: Path) -> bool:
    """Whether the process with this id is our mongod for this data folder; process ids are reused by the system."""
    import psutil

    try:
        process = psutil.Process(int(str(pid)))
        return process.uids().effective == os.geteuid() and str(data) in process.cmdline()
    except (psutil.Error, ValueError):
        return False
