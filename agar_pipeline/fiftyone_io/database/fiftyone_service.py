"""`database: fiftyone`: the mongod on the folder of the user's own FiftyOne, joined where it runs, else started.

FiftyOne itself needs ten seconds of imports for that. A mongod that an open session of the user's FiftyOne started is
joined: its service is known by its command line and counts its clients by their process ids, which works from outside.
Where none runs, one of our own is started (`own_mongod`), which nobody else can reach. FiftyOne cannot join that one,
so it ends with its last client.
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
from agar_pipeline.fiftyone_io.database.mongod import OwnMongod, ask_data_folder, attached
from agar_pipeline.fiftyone_io.database.settings import database_dir, is_set, source_of

if TYPE_CHECKING:
    import psutil

SERVICE_ARGS = ["--51-service", "db", "--multi"]
"""By these words FiftyOne's clients know the service (`fiftyone.core.service.DatabaseService`)."""
START_S = 30.0
ANSWER_S = 3.0
_POLL_S = 0.02
_YES = pickle.dumps(True)[-2:]
"""How a pickled True ends, which is the service's answer to a client it accepts; nothing is ever unpickled here."""


@contextlib.contextmanager
def own_database(*, may_create: bool = False) -> Iterator[str]:
    """The address of the mongod that serves the user's own FiftyOne; one of ours stays while anybody is inside.

    Args:
        may_create: Make a database where the user has none yet.

    Raises:
        DatabaseError: there is none, it is another user's, it does not start, or it does not answer.
        StorageError: its folder cannot be written.
    """
    folder = database_dir().resolve()
    if not may_create and not (folder / "WiredTiger").exists():
        raise DatabaseError(
            f"your own FiftyOne has no database yet: {folder} holds none{_named_by()}\n"
            "import a dataset into it, or use `database: embedded`, or an address"
        )
    with contextlib.ExitStack() as stack:
        yield _join_theirs(folder) or stack.enter_context(attached(_ours(folder)))


def _named_by() -> str:
    """Who says that it is there, if that is not FiftyOne's own place."""
    return f" ({source_of('database_dir')})" if is_set("database_dir") else ""


def _ours(folder: Path) -> OwnMongod:
    owner = folder.stat().st_uid if folder.exists() else os.geteuid()
    if owner != os.geteuid():
        raise DatabaseError(
            f"the database in {folder} belongs to another user (uid {owner}), and mongod would write there\n"
            "run as that user, or use `database: embedded`, or an address"
        )
    return OwnMongod("the database of your own FiftyOne", folder / "agar_pipeline", folder, idle_s=0.0)


def _join_theirs(folder: Path) -> str | None:
    """The address of a mongod that this user's FiftyOne runs on the folder, which now counts us; None: there is none.

    Raises:
        DatabaseError: there is one, but it does not answer.
    """
    deadline = time.monotonic() + START_S
    while (mongod := _find_mongod(folder)) is not None:
        port = _join(mongod)
        if port is not None:
            uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
            with contextlib.suppress(PyMongoError):
                if Path(ask_data_folder(uri)).resolve() == folder:
                    return uri
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"the database of your own FiftyOne in {folder} does not answer within {START_S:g} s\n"
                f"see that `fiftyone datasets list` works, and look into {folder / 'log' / 'mongo.log'}"
            )
        time.sleep(_POLL_S)
    return None


def _find_mongod(folder: Path) -> psutil.Process | None:
    """A process of this very user that serves this very folder on a port: a command line alone can be anybody's."""
    import psutil

    for process in psutil.process_iter(["cmdline", "uids"]):
        words, uids = process.info["cmdline"] or [""], process.info["uids"]
        if Path(words[0]).name != "mongod" or uids is None or {uids.real, uids.effective} != {os.geteuid()}:
            continue
        value_of = dict(itertools.pairwise(words))
        is_our_own = value_of.get("--bind_ip", "").startswith("/")  # the keeper's, on a socket
        if "--dbpath" in value_of and Path(value_of["--dbpath"]).resolve() == folder and not is_our_own:
            return process
    return None


def _join(mongod: psutil.Process) -> int | None:
    """Where it listens, once its service, if it has one, counts this process as a client; None: not yet, or no more."""
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
    """Tell the service that this process uses it (`fiftyone.service.ipc`): it stays until this process is gone."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_S) as contact:
        contact.sendall(pickle.dumps(("register", os.getpid())))
        with contact.makefile("rb") as answer:
            return answer.read().endswith(_YES)
    return False
