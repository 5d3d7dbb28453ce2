"""Dagster storage classes that write to the home; `dagster.yaml` of the checkout and of each home name them.

So runs and artifacts belong to the same home without an exported variable. Here: the classes, and refusing a Dagster
that was pointed to another home. Not here: the home's own dagster.yaml (`instance`).
"""

import contextlib
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import dagster as dg
import yaml
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from agar_pipeline.config.places import HOME_MARKER, agar_home, dagster_postgres_url
from agar_pipeline.defs.plain_name import plainly_named
from agar_pipeline.errors import ConfigError, StorageError
from agar_pipeline.files.file_system import doubt, leave_wal, note
from agar_pipeline.ownership.home import open_home

POSTGRES = {"postgres": {"postgres_url": {"env": "AGAR_DAGSTER_POSTGRES_URL"}}}
"""The storage of a home whose history is in Postgres. The URL contains a password, so it stays in the environment."""
_MEND = 'eval "$(agar env)"'


def is_in_postgres(config: str) -> bool:
    """Return whether one of our dagster.yaml files says that the history is in Postgres."""
    plain = yaml.safe_load(config)
    return isinstance(plain, dict) and plain.get("storage") == POSTGRES


def dagster_folder() -> Path:
    """Return the home's folder for Dagster, under a name that Dagster accepts; a missing home is created.

    Raises:
        StorageError: the folder is not a home of ours, or cannot be written.
    """
    folder = open_home(agar_home()) / "dagster"
    folder.mkdir(exist_ok=True)
    return plainly_named(folder)


def _is_server() -> bool:
    """Return whether a user started this process as a server; its child processes receive its instance."""
    program, *words = sys.argv
    return words[:1] == ["dev"] or (Path(program).name == "dagster-webserver" and "--instance-ref" not in words)


@cache
def _tell(home: Path) -> None:
    """Log the home once, although a process opens its instance several times."""
    logging.getLogger("dagster").info(f"the home is {home}")


@cache
def _warn(home: Path) -> None:
    """Warn once if the home is on an unsuitable file system; `agar run` prints this warning elsewhere."""
    if text := note(home):
        logging.getLogger("dagster").warning(text)


@cache
def _do_without_wal(storage: Path) -> None:
    """Make Dagster's SQLite files below this folder use a rollback journal; Dagster asks for a write-ahead log.

    Raises:
        StorageError: another process has one of them open with a write-ahead log.
    """
    try:
        for path in storage.rglob("*.db"):
            leave_wal(path)
    except sqlite3.Error as error:
        raise StorageError(
            f"cannot be used ({error})",
            where=path,
            next_step="end all other processes of this home, or set AGAR_HOME to a local disk",
        ) from error

    @event.listens_for(Engine, "before_cursor_execute", retval=True)
    def without_wal(
        connection: Connection, cursor: Any, statement: str, parameters: Any, *more: Any
    ) -> tuple[str, Any]:
        asks = statement.startswith("PRAGMA journal_mode=WAL")
        below = asks and Path(connection.engine.url.database or "/").is_relative_to(storage)
        return ("PRAGMA journal_mode=DELETE" if below else statement), parameters


def _folder_that_was_meant() -> Path:
    require_exported_home()
    return dagster_folder()


class HomeStorage(DagsterSqliteStorage):
    """Runs, events and schedules, in SQLite files of the home."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Raise ConfigError if the home's history is in Postgres, or if Dagster was pointed to another home."""
        folder = _folder_that_was_meant()
        own = folder / "dagster.yaml"
        if dagster_postgres_url() is not None or (own.exists() and is_in_postgres(own.read_text())):
            raise ConfigError(
                "has its Dagster history in Postgres, not in files", where=agar_home(), next_step=f"run {_MEND} first"
            )
        if Path(sys.argv[0]).name.startswith("dagster"):
            _warn(agar_home())
        if doubt(folder) is not None:
            _do_without_wal(folder / "storage")
        return cls.from_local(str(folder / "storage"), inst_data=inst_data)


class HomeArtifactStorage(LocalArtifactStorage):
    """Dagster's own files beside its history."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        folder = _folder_that_was_meant()
        if _is_server():
            _tell(agar_home())
        return cls(str(folder), inst_data=inst_data)


class HomeComputeLogs(LocalComputeLogManager):
    """The output of steps."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(str(_folder_that_was_meant() / "logs"), inst_data=inst_data)

    @contextlib.contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Capture the output of a step; a Ctrl-C in the terminal does not reach the processes that show it meanwhile.

        These processes inherit the blocked signal from this thread. Otherwise they would print tracebacks, and end
        before the last lines of the step.
        """
        with contextlib.ExitStack() as capturing:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                captured = capturing.enter_context(super().capture_logs(log_key))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield captured


def require_exported_home() -> None:
    """Refuse a DAGSTER_HOME that lies in another home than ours.

    Raises:
        ConfigError: its second line is the command that fixes it.
    """
    exported = os.environ.get("DAGSTER_HOME")
    if not exported:
        return
    home = Path(os.path.realpath(exported)).parent
    if home != agar_home() and (home / HOME_MARKER).exists():
        raise ConfigError(
            f"is in the home {home}, but AGAR_HOME is {agar_home()}; nothing was computed",
            where="DAGSTER_HOME",
            value=exported,
            next_step=f"point both to one home: {_MEND}",
        )


def require_one_home(instance: dg.DagsterInstance) -> None:
    """Refuse to compute if Dagster would write the history outside of the home.

    Histories on servers (Postgres) and in memory (tests) have no folder and are accepted.

    Raises:
        ConfigError: its second line is the command that fixes it.
    """
    require_exported_home()
    events = instance.event_log_storage
    if not isinstance(events, SqliteEventLogStorage):
        return
    place = Path(os.path.realpath(events._base_dir))
    if not place.is_relative_to(agar_home() / "dagster" / "storage"):  # elsewhere if our dagster.yaml was not read
        raise ConfigError(
            f"Dagster writes its history into {place}, but the artifacts go into {agar_home()}; nothing was computed",
            next_step=f"point both to one home: {_MEND}",
        )
