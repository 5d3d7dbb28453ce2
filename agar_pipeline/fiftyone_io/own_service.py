"""`database: fiftyone`: the database of the user's own FiftyOne, joined or started as FiftyOne does it.

FiftyOne itself needs ten seconds of imports for that. But its service is known by its command line, counts its clients
by their process ids, and ends after the last one: all of this works from outside. A mongod that runs on the user's
folder is joined, whoever started it; where none does, FiftyOne's own service is started (`service`), which other
clients of this user find and join as ever.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.keeper import is_passing, last_words
from agar_pipeline.fiftyone_io.settings import database_dir, mongod_path

if TYPE_CHECKING:
    import psutil

SERVICE_ARGS = ["--51-service", "db", "--multi"]
"""By these words FiftyOne's clients know the service (`fiftyone.core.service.DatabaseService`)."""
START_S = 30.0
ANSWER_S = 3.0
_POLL_S = 0.02
_YES = pickle.dumps(True)[-2:]
"""How a pickled True ends, which is the service's answer to a client it accepts; nothing is ever unpickled here."""
_services: list[subprocess.Popen[bytes]] = []
"""Those that this process started."""


def own_database(home: Path, *, may_create: bool = False) -> str:
    """The address of the mongod that serves the user's own FiftyOne; it stays for as long as this process lives.

    Args:
        home: Holds the lock that keeps two of our processes from starting it at once.
        may_create: Make a database where the user has none yet.

    Raises:
        DatabaseError: there is none, it does not start, or it does not answer.
    """
    folder = database_dir()
    if not may_create and not (folder / "WiredTiger").exists():
        raise DatabaseError(
            f"your own FiftyOne has no database yet: {folder} holds none\n"
            "import a dataset into it, or use `database: embedded`, or an address"
        )
    (home / "fiftyone").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "fiftyone" / "own_service.lock", timeout=START_S):
            port = _join_or_start(folder, home / "fiftyone" / "own_service.log")
    except Timeout:
        port = None
    if port is None:
        raise DatabaseError(
            f"the database of your own FiftyOne in {folder} does not answer within {START_S:g} s\n"
            f"see that `fiftyone datasets list` works, and look into {_log(folder)}"
        )
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


def _join_or_start(folder: Path, output: Path) -> int | None:
    """The port of mongod, with this process among the clients that keep it up; None after `START_S`."""
    service: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        mongod = _find_mongod(folder)
        if mongod is not None:
            port = _join(mongod)
            if port is not None:
                return port
        elif service is None:
            service = _start(folder, output)
        elif service.poll() is not None:
            words = _why(folder, output)
            if not is_passing(words):
                raise DatabaseError(
                    f"the database of your own FiftyOne does not start in {folder}: {words}\n"
                    f"look into {_log(folder)} and {output}"
                )
            service = None  # another mongod is just leaving the folder, or coming
        time.sleep(_POLL_S)
    return None


def _find_mongod(folder: Path) -> psutil.Process | None:
    """The process that serves this very folder: other projects' services are none of ours."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if Path(words[0]).name == "mongod" and "--dbpath" in words[:-1]:
            path = words[words.index("--dbpath") + 1]
            if Path(path).resolve() == folder.resolve():
                return process
    return None


def _join(mongod: psutil.Process) -> int | None:
    """Where it listens, once its service, if it has one, counts this process as a client; None: not yet, or no more."""
    import psutil

    try:
        port, service = _listening_port(mongod), mongod.parent()
        if port is None or service is None or not _is_service(service.cmdline()):
            return port  # without a service, mongod does not end with its clients
        contact = _listening_port(service)
        return port if contact is not None and _register(contact) else None
    except psutil.Error:
        return None


def _is_service(words: list[str]) -> bool:
    return any(words[start : start + len(SERVICE_ARGS)] == SERVICE_ARGS for start in range(len(words)))


def _listening_port(process: psutil.Process) -> int | None:
    connections = process.net_connections(kind="tcp")
    return next((int(found.laddr.port) for found in connections if found.status == "LISTEN"), None)


def _register(port: int) -> bool:
    """Tell the service that this process uses it (`fiftyone.service.ipc`): it stays until this process is gone."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_S) as contact:
        contact.sendall(pickle.dumps(("register", os.getpid())))
        with contact.makefile("rb") as answer:
            return answer.read().endswith(_YES)
    return False


def _start(folder: Path, output: Path) -> subprocess.Popen[bytes]:
    """FiftyOne's own service, with the words that FiftyOne gives it."""
    _log(folder).parent.mkdir(parents=True, exist_ok=True)
    _log(folder).touch()
    command = [sys.executable, "-m", "agar_pipeline.fiftyone_io.service", *SERVICE_ARGS, str(mongod_path())]
    command += ["--dbpath", str(folder), "--logpath", str(_log(folder)), "--port", "0", "--nounixsocket"]
    with output.open("wb") as stream:
        service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=stream, process_group=0)
    _services.append(service)  # its standard input stays open for as long as this process lives
    return service


def _why(folder: Path, output: Path) -> str:
    """Why the service ended: mongod's last words, or its own where it did not come to start mongod."""
    lines = output.read_text(errors="replace").splitlines()
    return last_words(_log(folder)) if not lines or lines[0].startswith("Subprocess") else lines[-1]


def _log(folder: Path) -> Path:
    return folder / "log" / "mongo.log"
