"""Compares the FiftyOne version of a database with the installed one, and migrates the database only on request.

By default FiftyOne migrates a database that it opens, and each dataset that it loads, to its own version; older clients
may refuse them afterwards. Our child processes do not migrate: they run with FiftyOne's setting `database_admin: false`
and use every version that FiftyOne calls compatible unchanged. An incompatible version is refused here, before FiftyOne
is imported, or migrated in a separate child process (`migrate`) if the user asks for it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from pymongo.database import Database

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.database.connection import connected, open_database
from agar_pipeline.fiftyone_io.database.settings import may_administrate
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.text.secrets import mask

CHILD = "agar_pipeline.fiftyone_io"
"""Module of the child processes that import FiftyOne."""
_TYPE = "fiftyone"
"""`fiftyone.constants.CLIENT_TYPE`; FiftyOne Enterprise has another value."""


@dataclass(frozen=True)
class Revisions:
    """FiftyOne versions that are recorded in a database and in one of its datasets, and the installed version."""

    database: str | None
    """None if the database has no record of a version."""
    dataset: str | None
    """The database's version if the dataset does not exist; None if neither has a record."""
    kind: str
    ours: str
    is_empty: bool
    """Whether FiftyOne has written nothing into the database yet, so that there is nothing to migrate."""

    @property
    def unusable(self) -> bool:
        """Whether the installed FiftyOne would have to migrate the database or the dataset before using it."""
        return not self.is_empty and not all(is_compatible(version) for version in (self.database, self.dataset))

    @property
    def older(self) -> bool:
        """Whether the database or the dataset is older than the installed FiftyOne."""
        return not self.is_empty and any(is_older(version, self.ours) for version in (self.database, self.dataset))

    @property
    def newer(self) -> bool:
        """Whether the database or the dataset is newer than the installed FiftyOne, which then cannot migrate it."""
        return any(is_older(self.ours, version) for version in (self.database, self.dataset))

    def __str__(self) -> str:
        version = f"FiftyOne {self.database}" if self.database else "a FiftyOne that left no version in it"
        return version + (f" (its dataset of {self.dataset})" if self.dataset not in (None, self.database) else "")


@contextlib.contextmanager
def open_for_writing(
    database: str, home: Path, dataset: str, log: Log, *, migrate: bool = False, may_create: bool = False
) -> Iterator[str]:
    """Like `open_database`, but first ensure that the dataset can be written, with a migration only where allowed.

    Args:
        database: As in `open_database`.
        home: Folder of the embedded database. Only this project uses that database, so it is migrated if necessary.
        dataset: Name of the dataset that will be written; it need not exist.
        migrate: Whether the user asked for a migration.
        may_create: Create the user's own database if it does not exist yet.

    Raises:
        DatabaseError: The database would have to be migrated, cannot be reached, or cannot be used.
    """
    with open_database(database, home, may_create=may_create) as uri:
        with connected(uri) as mongo:
            found = read_revisions(mongo, dataset)
        ours = database == "embedded"
        if (migrate and found.older) or (ours and found.unusable):
            _migrate(uri, dataset, database, found, log)
        else:
            require_usable(found, database)
            if found.older and not ours:
                log(f"note: {_name(database)} is of {found}; FiftyOne {found.ours} here uses it without migrating it")
        yield uri


def require_usable(found: Revisions, database: str) -> None:
    """Raise DatabaseError if FiftyOne would have to migrate the database; `database` is its name in messages."""
    if not found.is_empty and found.kind != _TYPE:
        raise DatabaseError(
            f"is of type {found.kind!r}, made by another FiftyOne product; the FiftyOne here opens only {_TYPE!r}",
            where=_name(database),
            next_step="use `database: embedded`, or another address",
        )
    if not found.unusable:
        return
    if found.newer:
        raise DatabaseError(
            f"is of {found}, which is newer than FiftyOne {found.ours} here can use; nothing was changed",
            where=_name(database),
            next_step="install that FiftyOne, or use `database: embedded`",
        )
    raise DatabaseError(
        f"is of {found}, so that FiftyOne {found.ours} here would have to migrate it; older clients may refuse it "
        "afterwards; nothing was changed",
        where=_name(database),
        next_step="make a backup (mongodump), then add --migrate-database to agar import, view, review or restore; "
        "or use `database: embedded`",
    )


def read_revisions(database: Database, dataset: str) -> Revisions:
    """Read the versions from the database with pymongo, because FiftyOne would write a missing version record."""
    record: dict[str, Any] = next(iter(database.config.find().sort("_id", -1).limit(1)), {})
    document = database.datasets.find_one({"name": dataset}, {"version": 1})
    is_empty = not record and database.datasets.find_one({}, {"_id": 1}) is None
    version, kind = record.get("version"), record.get("type")
    return Revisions(
        database=str(version) if version and kind else None,
        dataset=str(document.get("version") or "0.0") if document else str(version) if version else None,
        kind=str(kind or _TYPE),
        ours=metadata.version("fiftyone"),
        is_empty=is_empty,
    )


def is_compatible(version: str | None) -> bool:
    """Same rule as `fiftyone.migrations.runner._is_compatible_version`; False for a missing or invalid version."""
    try:
        return version is not None and SpecifierSet(_compatible_versions()).contains(Version(version).base_version)
    except InvalidVersion:
        return False


def is_older(version: str | None, than: str | None) -> bool:
    """Whether one version is older than another; None counts as version 0.

    >>> is_older("1.2.0", "1.10.0"), is_older(None, "0.1"), is_older("1.2.0", "1.2.0")
    (True, True, False)
    """
    try:
        return Version(Version(version or "0").base_version) < Version(Version(than or "0").base_version)
    except InvalidVersion:
        return False


def _compatible_versions() -> str:
    """Read `fiftyone.constants.COMPATIBLE_VERSIONS` from its source: importing it would import all of FiftyOne."""
    spec = importlib.util.find_spec("fiftyone")  # locates the package without importing it
    if spec is not None and spec.origin is not None:
        for node in ast.parse(Path(spec.origin).with_name("constants.py").read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "COMPATIBLE_VERSIONS":
                return ast.literal_eval(node.value) or f"=={metadata.version('fiftyone')}"
    return f"=={metadata.version('fiftyone')}"


def _migrate(uri: str, dataset: str, database: str, found: Revisions, log: Log) -> None:
    if found.newer or found.kind != _TYPE:
        require_usable(found, database)
        return
    if database != "embedded" and not may_administrate():
        raise DatabaseError(
            f"is of {found}, and your FiftyOne is set up not to migrate it (database_admin: false)",
            where=_name(database),
            next_step=f"ask the administrator of the database to migrate it to {found.ours}",
        )
    log(
        f"migrating {_name(database)} from {found} to {found.ours}; FiftyOne of older versions may refuse it afterwards"
    )
    if database == "embedded":
        log("note: older checkouts of this project that use this home may refuse it, too")
    run_child(CHILD, {"do": "migrate", "uri": uri, "dataset": dataset}, log)
    with connected(uri) as mongo:
        require_usable(read_revisions(mongo, dataset), database)


def _name(database: str) -> str:
    return {"embedded": "the embedded database", "fiftyone": "the database of your own FiftyOne"}.get(
        database, f"the database at {mask(database)}"
    )
