"""Opens a database: ours, the user's, or one at an address.

Not here: messages about a database that cannot be reached (`connection_errors`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pymongo
from pymongo import errors as mongo_errors
from pymongo.database import Database

from agar_pipeline.config import database_address
from agar_pipeline.errors import ConfigError, DatabaseError
from agar_pipeline.fiftyone_io.database.connection_errors import SAID_BY_PIPELINE, SELECT_S, explain
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


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _host(client: pymongo.MongoClient) -> str:
    address = client.address
    return ":".join(str(part) for part in address if part is not None) if address else "its address"
