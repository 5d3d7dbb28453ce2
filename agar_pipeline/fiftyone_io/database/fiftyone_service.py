"""Implements `database: fiftyone`: joins the mongod of the user's own FiftyOne if it runs, otherwise starts one.

FiftyOne itself would need ten seconds of imports for this. If a session of the user's FiftyOne has started a mongod, we
register with its service as a client: the service is recognised by its command line and counts clients by process id,
which works without importing FiftyOne. If no mongod runs, we start our own (`mongod_client`), which other users cannot
reach. FiftyOne cannot join that mongod, so it ends when its last client ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.database.mongod_client import OPTIONS, OwnMongod, ask_data_folder, attached
from agar_pipeline.fiftyone_io.database.settings import database_dir, is_set, source_of

if TYPE_CHECKING:
    import psutil

SERVICE_ARGS = ["--51-service", "db", "--multi"]
"""Arguments by which FiftyOne's clients recognise the service (`fiftyone.core.service.DatabaseService`)."""
START_S = 30.0
ANSWER_S = 3.0
_POLL_S = 0.02
_YES = pickle.dumps(True)[-2:]
"""Last two bytes of a pickled True, the service's reply to a client that it accepts; the reply is not unpickled."""


@contextlib.contextmanager
def own_database(*, may_create: bool = False) -> Iterator[str]:
    """Yield the address of the mongod for the user's own FiftyOne; one that we start runs during the block.

    Args:
        may_create: Create the database if the user has none yet.

    Raises:
        DatabaseError: There is no database, it belongs to another user, or its mongod does not start or answer.
        StorageError: The database's folder is not writable.
    """
    folder = database_dir().resolve()
    if not may_create and not (folder / "WiredTiger").exists():
        raise DatabaseError(
            f"has no database yet: {folder} holds none{_named_by()}",
            where="your own FiftyOne",
            next_step="import a dataset into it, or use `database: embedded` or an address",
        )
    with contextlib.ExitStack() as stack:
        yield _join_theirs(folder) or stack.enter_context(attached(_ours(folder)))


def _named_by() -> str:
    """Name the setting that chose the database's folder; empty for FiftyOne's default folder."""
    return f" ({source_of('database_dir')})" if is_set("database_dir") else ""


def _ours(folder: Path) -> OwnMongod:
    owner = folder.stat().st_uid if folder.exists() else os.geteuid()
    if owner != os.geteuid():
        raise DatabaseError(
            f"belongs to another user (uid {owner}), and mongod would write into it",
            where=f"the database in {folder}",
            next_step="run as that user, or use `database: embedded` or an address",
        )
    return OwnMongod("the database of your own FiftyOne", folder / "agar_pipeline", folder, idle_s=0.0)


def _join_theirs(folder: Path) -> str | None:
    """Register with the mongod that this user's FiftyOne runs on the folder; returns its address, None without one.

    Raises:
        DatabaseError: A mongod runs on the folder but does not answer within `START_S`.
    """
    deadline = time.monotonic() + START_S
    while (mongod := _find_mongod(folder)) is not None:
        port = _join(mongod)
        if port is not None:
            uri = f"mongodb://127.0.0.1:{port}/?{OPTIONS}"
            with contextlib.suppress(PyMongoError):
                if Path(ask_data_folder(uri)).resolve() == folder:
                    return uri
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"does not answer within {START_S:g} s",
                where=f"the database of your own FiftyOne in {folder}",
                next_step=f"check that `fiftyone datasets list` works, and read {folder / 'log' / 'mongo.log'}",
            )
        time.sleep(_POLL_S)
    return None


def _find_mongod(folder: Path) -> psutil.Process | None:
    """Find a mongod of this user that serves this folder on a port.

    The user ids are compared because a process of another user can have the same command line.
    """
    import psutil

    for process in psutil.process_iter(["cmdline", "uids"]):
        words, uids = process.info["cmdline"] or [""], process.info["uids"]
        if Path(words[0]).name != "mongod" or uids is None or {uids.real, uids.effective} != {os.geteuid()}:
            continue
        value_of = dict(itertools.pairwise(words))
        is_our_own = value_of.get("--bind_ip", "").startswith("/")  # started by mongod_keeper, listens on a Unix socket
        if "--dbpath" in value_of and Path(value_of["--dbpath"]).resolve() == folder and not is_our_own:
            return process
    return None


def _join(mongod: psutil.Process) -> int | None:
    """Return mongod's port after its service, if it has one, has registered this process as a client.

    The result is None if mongod or its service does not listen yet, refuses us, or has ended.
    """
    import psutil

    try:
        port, service = _listening_port(mongod), mongod.parent()
        if port is None or service is None or not _is_service(service):
            return port  # without a service, mongod does not end with its clients
        contact = _listening_port(service)
        return port if contact is not None and _register(contact) else None
    except psutil.Error:
        return None


def _is_service(process: psutil.Process) -> bool:
    words = process.cmdline()
    starts = range(len(words))
    is_named = any(words[start : start + len(SERVICE_ARGS)] == SERVICE_ARGS for start in starts)
    return is_named and process.uids().effective == os.geteuid()


def _listening_port(process: psutil.Process) -> int | None:
    connections = process.net_connections(kind="tcp")
    return next((int(found.laddr.port) for found in connections if found.status == "LISTEN"), None)


def _register(port: int) -> bool:
    """Register this process with the service (`fiftyone.service.ipc`), which then runs at least until it ends."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_S) as contact:
        contact.sendall(pickle.dumps(("register", os.getpid())))
        with contact.makefile("rb") as answer:
            return answer.read().endswith(_YES)
    return False
