"""Opens a database (ours, the user's, or one at an address) and explains why one cannot be reached."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pymongo
from pymongo import errors as mongo_errors
from pymongo.database import Database

from agar_pipeline.config import database_address
from agar_pipeline.errors import ConfigError, DatabaseError
from agar_pipeline.fiftyone_io.database.fiftyone_service import own_database
from agar_pipeline.fiftyone_io.database.mongod_client import embedded_database
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
_IN_VARIABLE = ", and the address into a variable: `database: env:NAME`"
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
                    f"is {mask(uri)!r}, which is not an address of a database",
                    where=said_by,
                    next_step="write mongodb://HOST:PORT there",
                )
            raise ConfigError(
                "must be embedded, fiftyone, or an address",
                where="database",
                value=mask(database),
                next_step="write mongodb://HOST:PORT, or where the address is: env:NAME or file:PATH",
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
        raise explain(error, uri, said_by) from mask_error(error)


@contextlib.contextmanager
def connected(uri: str) -> Iterator[Database]:
    """Yield the Mongo database with FiftyOne's collections; errors as in `connect`."""
    with connect(uri) as client:
        yield client[database_name()]


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
        raise explain(error, uri, said_by) from mask_error(error)


def check_version(client: pymongo.MongoClient) -> None:
    """Send the first requests to the server; raises DatabaseError if its mongod is too old for FiftyOne."""
    version = client.server_info()["version"]
    if int(version.split(".")[0]) < OLDEST_MAJOR:
        raise DatabaseError(
            f"runs mongod {version}, but FiftyOne needs {OLDEST_MAJOR}.0 or newer",
            where=f"the database at {_host(client)}",
            next_step="upgrade mongod, or use `database: embedded`",
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
    return f"note: the database {what}; the pipeline works nevertheless (database_notice: false hides this line)"


def explain(error: Exception, uri: str, said_by: str = SAID_BY_PIPELINE) -> DatabaseError:
    """Return a DatabaseError with the cause of a database error and the next step, without the password.

    Args:
        error: An error of pymongo, or the ValueError of an address that it cannot parse.
        said_by: The setting, variable or file that holds the address.
    """
    address, text = show_address(uri), mask(str(error))
    return (
        _explain_refusal(error, address, text, said_by)
        or _explain_silence(error, address, text, said_by)
        or DatabaseError(
            f"refused a request: {_first_line(text)}",
            where=f"the database at {address}",
            next_step="correct what it says; often the user of the database lacks a right",
        )
    )


def _explain_refusal(error: Exception, address: str, text: str, said_by: str) -> DatabaseError | None:
    """Explain why a server that answers cannot be used, or why the address is not one; None for other errors."""
    code, place = getattr(error, "code", None), f"the database at {address}"
    if code == 18 or "Authentication failed" in text:
        return DatabaseError(
            "refuses the name or password",
            where=place,
            next_step=f"put the right ones into the address, mongodb://USER:PASSWORD@HOST{_IN_VARIABLE}",
        )
    if code == 13 or "requires authentication" in text:
        return DatabaseError(
            "requires a password",
            where=place,
            next_step=f"put it into the address, mongodb://USER:PASSWORD@HOST:PORT{_IN_VARIABLE}",
        )
    if isinstance(error, mongo_errors.ConfigurationError | ValueError):
        return DatabaseError(
            f"cannot be used ({_first_line(text)})",
            where=f"the database address {address}",
            next_step=f"write mongodb://HOST:PORT in {said_by}",
        )
    if code == _OUT_OF_SPACE or "No space left" in text:
        return DatabaseError(
            "is full",
            where=f"the disk of the database at {address}",
            next_step="free some space (`agar clean`), or set AGAR_HOME to a larger disk",
        )
    if "wire version" in text:
        return DatabaseError(
            "is too old for this pymongo",
            where=place,
            next_step=f"upgrade mongod to {OLDEST_MAJOR}.0 or newer, or use `database: embedded`",
        )
    return None


def _explain_silence(error: Exception, address: str, text: str, said_by: str) -> DatabaseError | None:
    place = f"the database at {address}"
    if address.startswith("/") and isinstance(error, mongo_errors.ServerSelectionTimeoutError):
        return DatabaseError(
            f"has ended ({_first_line(text)}); no data is lost",
            where=place,
            next_step="run the command again, which starts the database",
        )
    if "refused" in text:
        return DatabaseError(
            "cannot be reached, because nothing listens there (connection refused)",
            where=place,
            next_step=f"start mongod there, or correct {said_by}",
        )
    if re.search(r"getaddrinfo|not known|Temporary failure|No address", text):
        return DatabaseError(
            "has a host that is not known: it is misspelt, or the name server does not answer",
            where=place,
            next_step=f"correct {said_by}",
        )
    if isinstance(error, mongo_errors.ServerSelectionTimeoutError):
        return DatabaseError(
            f"does not answer within {SELECT_S:g} s",
            where=place,
            next_step=f"check {said_by}, that the machine runs, and its firewall",
        )
    if isinstance(error, mongo_errors.AutoReconnect):
        return DatabaseError(
            f"stopped answering ({_first_line(text)})",
            where=place,
            next_step="check that mongod runs there, then run the command again",
        )
    return None


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
