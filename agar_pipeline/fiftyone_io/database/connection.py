"""Opens a database (ours, the user's, or one at an address) and explains in one line why one cannot be reached."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pymongo
from pymongo import errors as mongo_errors

from agar_pipeline.config import database_address
from agar_pipeline.errors import ConfigError, DatabaseError
from agar_pipeline.fiftyone_io.database.embedded_service import embedded_database
from agar_pipeline.fiftyone_io.database.fiftyone_service import own_database
from agar_pipeline.fiftyone_io.database.settings import (
    LARGEST_LAG,
    OLDEST_MAJOR,
    database_name,
    database_uri,
    source_of,
    warns_about_versions,
)
from agar_pipeline.text.secrets import mask, mask_error

SAID_BY_PIPELINE = "snapshot.database"
_OUT_OF_SPACE = 14031
"""MongoDB's error code for a full disk."""
SELECT_S = 5.0
"""Seconds to find a server."""
ANSWER_S = 20.0
"""Seconds without a reply during a read after which the connection is given up."""


@contextlib.contextmanager
def open_database(database: str, home: Path, *, may_create: bool = False) -> Iterator[str]:
    """Yield the address of a database that answers and is usable; a server that we run stays up during the block.

    Args:
        database: `embedded`, `fiftyone` (the user's own set-up), `mongodb://…`, or a reference to an address
            (`env:NAME`, `file:PATH`).
        home: Folder that holds the embedded database.
        may_create: Create the user's own database if it does not exist yet.

    Raises:
        DatabaseError: The database cannot be reached, requires a password, or its mongod is too old.
        ConfigError: `database` is none of the values above.
    """
    with contextlib.ExitStack() as stack:
        if database == "embedded":
            yield stack.enter_context(embedded_database(home))
            return
        uri, said_by = database_address(database), _said_by(database)
        if database == "fiftyone":
            uri = database_uri() or stack.enter_context(own_database(may_create=may_create))
        if not uri.startswith(("mongodb://", "mongodb+srv://")):
            if said_by != SAID_BY_PIPELINE:
                raise ConfigError(
                    f"{said_by} is {mask(uri)!r}, no address", next_step="write mongodb://HOST:PORT there"
                )
            raise ConfigError(
                f"database {mask(database)!r} must be embedded, fiftyone, or an address "
                "(mongodb://HOST:PORT; env:NAME or file:PATH where it is kept)"
            )
        with connect(uri, said_by) as client:
            check_version(client)
        yield uri


def _said_by(database: str) -> str:
    """Name the setting, variable or file that the user must correct if the address is wrong."""
    kind, _, name = database.partition(":")
    if database == "fiftyone":
        return source_of("database_uri") if database_uri() else SAID_BY_PIPELINE
    if kind == "env":
        return f"the variable {name}"
    return f"the file {name}" if kind == "file" else SAID_BY_PIPELINE


@contextlib.contextmanager
def connect(uri: str, said_by: str = SAID_BY_PIPELINE) -> Iterator[pymongo.MongoClient]:
    """Yield a client with short time-outs; errors of pymongo inside the block are raised as DatabaseError."""
    try:
        with _client(uri, said_by) as client:
            yield client
    except mongo_errors.PyMongoError as error:
        raise DatabaseError(explain(error, uri, said_by)) from mask_error(error)


def _client(uri: str, said_by: str) -> pymongo.MongoClient:
    try:
        return pymongo.MongoClient(
            uri,
            serverSelectionTimeoutMS=SELECT_S * 1000,
            connectTimeoutMS=SELECT_S * 1000,
            socketTimeoutMS=ANSWER_S * 1000,
            retryReads=False,
            appname="agar_pipeline",
        )
    except ValueError as error:  # the port is not a valid number
        raise DatabaseError(explain(error, uri, said_by)) from mask_error(error)


def check_version(client: pymongo.MongoClient) -> None:
    """Send the first requests to the server; raises DatabaseError if its mongod is too old for FiftyOne."""
    version = client.server_info()["version"]
    if int(version.split(".")[0]) < OLDEST_MAJOR:
        raise DatabaseError(
            f"the database at {_host(client)} runs mongod {version}: FiftyOne needs {OLDEST_MAJOR}.0 or newer; upgrade it, or use `database",
            next_step="embedded`",
        )
    client[database_name()].datasets.find_one({}, {"_id": 1})  # the server checks the password only on a read


def version_notice(client: pymongo.MongoClient) -> str | None:
    """One line about the server's version or feature compatibility version, or None if FiftyOne would not warn.

    The comparisons are those of `fiftyone.core.odm.database._is_fcv_upgradeable`. As there, the result is None if the
    user has no permission to read the versions.
    """
    if not warns_about_versions():
        return None
    try:
        parameter = client.admin.command({"getParameter": 1, "featureCompatibilityVersion": 1})
        level = _numbers(parameter["featureCompatibilityVersion"]["version"])
        server = _numbers(client.server_info()["version"])
    except (mongo_errors.OperationFailure, KeyError):
        return None
    if level > server:
        what = f"is set to compatibility {level[0]}.{level[1]}, newer than mongod {server[0]}.{server[1]} itself"
    elif server[0] - level[0] > LARGEST_LAG:
        what = f"is set to compatibility {level[0]}.{level[1]}, far behind mongod {server[0]}.{server[1]}"
    elif OLDEST_MAJOR in {level[0], server[0]}:
        what = f"runs mongod {server[0]}.{server[1]}, the oldest major version that FiftyOne supports"
    else:
        return None
    return f"note: the database {what}; this blocks nothing (database_notice: false hides this line)"


def explain(error: Exception, uri: str, said_by: str = SAID_BY_PIPELINE) -> str:
    """Describe the cause of a database error and its fix in one or two lines, without the password."""
    where = show_address(uri)
    text = mask(str(error))
    code = getattr(error, "code", None)
    if code == 18 or "Authentication failed" in text:
        return f"the database at {where} refuses the name or password: put the right ones into mongodb://USER:PASSWORD@HOST"
    if code == 13 or "requires authentication" in text:
        return f"the database at {where} wants a password: put it into the address, mongodb://USER:PASSWORD@HOST:PORT"
    if isinstance(error, mongo_errors.ConfigurationError | ValueError):
        why = _first_line(text)
        return f"the database address {where} cannot be used ({why}): write mongodb://HOST:PORT in {said_by}"
    if code == _OUT_OF_SPACE or "No space left" in text:
        return (
            f"the disk of the database at {where} is full: free some (`agar clean`), or set AGAR_HOME to a larger disk"
        )
    if "wire version" in text:
        return f"the database at {where} is too old for this pymongo: upgrade mongod to {OLDEST_MAJOR}.0 or newer"
    if where.startswith("/") and isinstance(error, mongo_errors.ServerSelectionTimeoutError):
        return f"the database at {where} has ended ({_first_line(text)}): try again"
    if "refused" in text:
        return f"nothing listens at {where} (connection refused): start mongod there, or correct {said_by}"
    if re.search(r"getaddrinfo|not known|Temporary failure|No address", text):
        return f"the host of {where} is not known: correct {said_by}"
    if isinstance(error, mongo_errors.ServerSelectionTimeoutError):
        return f"no database answers at {where} within {SELECT_S:g} s: check {said_by}, and the firewall"
    if isinstance(error, mongo_errors.AutoReconnect):
        return f"the database at {where} stopped answering ({_first_line(text)}): see that it runs, then try again"
    return f"the database at {where} refused a request: {_first_line(text)}"


def show_address(uri: str) -> str:
    """Format an address for messages: without password and options; for our own mongod the path of its socket."""
    shown = mask(uri)
    return unquote(shown.removeprefix("mongodb://")) if shown.startswith("mongodb://%2F") else shown


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].split(", full error")[0].split(" (configured timeouts")[0][:200]


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _host(client: pymongo.MongoClient) -> str:
    address = client.address
    return ":".join(str(part) for part in address if part is not None) if address else "its address"
