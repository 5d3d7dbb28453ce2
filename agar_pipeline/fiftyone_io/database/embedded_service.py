"""Implements `database: embedded`: our own mongod with its data under the home, shared by all processes of this home.

FiftyOne's own service is not used for two reasons: its clients attach to any mongod that runs for this user, regardless
of its data folder, and it listens on a port that every user of the machine can reach.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from agar_pipeline.config import database_idle_s
from agar_pipeline.errors import StorageError
from agar_pipeline.fiftyone_io.database.mongod_client import OwnMongod, attached
from agar_pipeline.ownership.home import open_home


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
