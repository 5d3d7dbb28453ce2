"""Reads the address of the database from a variable or a file, so that no config file holds a password."""

from __future__ import annotations

import os

from agar_pipeline.config.places import expanded
from agar_pipeline.errors import ConfigError
from agar_pipeline.files.private_files import read_private


def database_address(database: str) -> str:
    """Resolve `env:NAME` or `file:PATH` to a database address; any other value is returned unchanged.

    The two forms keep passwords out of the config files.

    >>> database_address("mongodb://localhost:27017")
    'mongodb://localhost:27017'

    Raises:
        ConfigError: the variable or file does not exist, or other users may read the file.
    """
    kind, _, name = database.partition(":")
    if kind == "env":
        if not (address := os.environ.get(name)):
            raise ConfigError(
                f"reads the variable {name}, which is not set",
                where=f"`database: {database}`",
                next_step=f"set it in this shell: `export {name}=mongodb://HOST:PORT`",
            )
        return address
    if kind == "file" and not name.startswith("//"):
        return read_private(expanded(name), f"`database: {database}`").decode().strip()
    return database


def database_variables(database: str) -> tuple[str, ...]:
    """Return the names of the environment variables that may hold the address, including a password.

    >>> database_variables("env:LAB_DB"), database_variables("embedded")
    (('LAB_DB',), ())
    """
    if database == "fiftyone":
        return ("FIFTYONE_DATABASE_URI",)
    return (database.removeprefix("env:"),) if database.startswith("env:") else ()
