"""`database: embedded`: a mongod of our own under the home, shared by all processes that use this home.

Here: attaching to it, and having it started by the `keeper`. FiftyOne's own service is not used: its clients attach
to whatever mongod runs for this user, in whatever folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pymongo
from filelock import FileLock, Timeout
from pymongo.errors import PyMongoError

from agar_pipeline.config import database_idle_s
from agar_pipeline.errors import DatabaseError, StorageError
from agar_pipeline.fiftyone_io.settings import mongod_path

START_S = 25.0
ANSWER_S = 3.0
_POLL_S = 0.02


@contextlib.contextmanager
def embedded_database(home: Path) -> Iterator[str]:
    """Attach to the home's mongod, or start it; it stays while anybody is inside.

    Raises:
        DatabaseError: it cannot be started, or does not answer.
        StorageError: the home cannot be written.
    """
    folder = home.resolve() / "fiftyone"
    try:
        (folder / "db").mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "clients.lock").open("a")
    except OSError as error:
        raise StorageError(f"the embedded database needs to write {folder}: {error.strerror}; set AGAR_HOME") from error
    with lock:
        _hold(lock, folder)
        yield _attach(folder) or _start(folder)


def _hold(lock: IO[str], folder: Path) -> None:
    """Share the clients' lock; only a keeper that is shutting down keeps us waiting."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise DatabaseError(f"{folder} is on a file system without locks ({error}): set AGAR_HOME") from error
        if time.monotonic() > deadline:
            raise DatabaseError(f"the embedded database in {folder} is shutting down since {START_S:g} s: try again")
        time.sleep(_POLL_S)


def _start(folder: Path) -> str:
    mongod = mongod_path()
    try:
        with FileLock(folder / "start.lock", timeout=START_S):
            uri = _attach(folder)  # somebody else may have started it while we waited
            if uri is not None:
                return uri
            (folder / "server.json").unlink(missing_ok=True)
            command = [sys.executable, "-m", "agar_pipeline.fiftyone_io.keeper", str(mongod), str(folder)]
            with (folder / "keeper.log").open("w") as output:
                subprocess.run(
                    [*command, str(database_idle_s())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    check=False,
                )
            return _wait_for(folder)
    except Timeout:
        raise DatabaseError(
            f"the embedded database in {folder} is being started by another process since {START_S:g} s\n"
            f"look into {folder / 'mongod.log'}, or try again"
        ) from None


def _wait_for(folder: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        plain = _server(folder)
        if "error" in plain:
            raise DatabaseError(
                f"mongod does not start in {folder / 'db'}: {plain['error']}\nlook into {folder / 'mongod.log'}"
            )
        if plain:
            uri = _attach(folder)
            if uri is not None:
                return uri
        time.sleep(_POLL_S)
    raise DatabaseError(
        f"mongod in {folder / 'db'} did not answer within {START_S:g} s: "
        f"look into {folder / 'mongod.log'} and {folder / 'keeper.log'}"
    )


def _server(folder: Path) -> dict[str, object]:
    try:
        plain = json.loads((folder / "server.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _attach(folder: Path) -> str | None:
    """The address of the running mongod, once it has answered that it serves this very folder; None where none runs.

    Raises:
        DatabaseError: something of ours runs, but is frozen.
    """
    server = _server(folder)
    if "port" not in server or not _has_keeper(folder) or not _listens(server["port"]):
        return None
    uri = f"mongodb://127.0.0.1:{server['port']}/?directConnection=true"
    try:
        with pymongo.MongoClient(
            uri, serverSelectionTimeoutMS=1000 * ANSWER_S, socketTimeoutMS=1000 * ANSWER_S, retryReads=False
        ) as client:
            options = client.admin.command("getCmdLineOpts")
    except PyMongoError as error:
        if _is_mongod(server.get("pid"), folder):
            if "refused" in str(error):  # it is just ending
                return None
            raise DatabaseError(
                f"the embedded database (process {server['pid']}) does not answer within {ANSWER_S:g} s\n"
                f"if it is stuck, end it with kill -9 {server['pid']}: the next call starts it again, no data is lost"
            ) from error
        return None
    return uri if options["parsed"]["storage"]["dbPath"] == str(folder / "db") else None


def _has_keeper(folder: Path) -> bool:
    """A keeper holds its lock as long as it lives; a mongod without one is about to end."""
    with (folder / "keeper.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


def _listens(port: object) -> bool:
    """Asked before pymongo, which would try for seconds where the connection is refused at once."""
    with socket.socket() as probe:
        probe.settimeout(ANSWER_S)
        return probe.connect_ex(("127.0.0.1", int(str(port)))) == 0


def _is_mongod(pid: object, folder: Path) -> bool:
    """Whether this process is a mongod that serves our folder (a number alone may belong to anybody by now)."""
    import psutil

    try:
        return str(folder / "db") in psutil.Process(int(str(pid))).cmdline()
    except (psutil.Error, ValueError):
        return False
