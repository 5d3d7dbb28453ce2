"""Opens Dagster's storage in the home, and reads its records of our assets."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from filelock import FileLock

from agar_pipeline.chain.plan import DagsterRecord
from agar_pipeline.config import agar_home, dagster_postgres_url, max_runs
from agar_pipeline.defs.artifact_io import to_asset_key
from agar_pipeline.defs.home_storage import POSTGRES, dagster_folder, is_in_postgres
from agar_pipeline.defs.run_locks import fail_dead_runs
from agar_pipeline.errors import ConfigError, MissingPackageError
from agar_pipeline.files.disk import replace_file
from agar_pipeline.store import Key

_INPUT_PREFIX = "dagster/input_data_version/"
_HEADING = "# Written by agar: as dagster.yaml of the checkout, for commands that are called from elsewhere.\n"
_CLASSES = "agar_pipeline.defs.home_storage"
_FILES = {"custom": {"module": _CLASSES, "class": "HomeStorage", "config": {}}}
_ADDRESS = "AGAR_DAGSTER_POSTGRES_URL=postgresql+psycopg2://USER:PASSWORD@HOST/NAME"
"""It names the driver, because SQLAlchemy's default is one that dagster-postgres does not install."""


def dagster_home() -> Path:
    """Write the home's dagster.yaml if it is missing or differs, and point Dagster to it.

    Raises:
        ConfigError: the home's history is in Postgres and no URL is given, the URL is invalid, or `AGAR_MAX_RUNS` is
            invalid.
        MissingPackageError: a URL is given, but dagster-postgres is not installed.
        StorageError: the home is not ours, or cannot be written.
    """
    folder = dagster_folder()
    path = folder / "dagster.yaml"
    there = path.read_text() if path.exists() else ""
    text = _HEADING + yaml.safe_dump(_config(_storage(there)), sort_keys=False)
    if there != text:
        replace_file(path, text)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def _config(storage: dict[str, Any]) -> dict[str, Any]:
    limit = max_runs()
    runs = {} if limit is None else {"runs": {"max_concurrent_runs": limit}}
    return {
        "storage": storage,
        "local_artifact_storage": {"module": _CLASSES, "class": "HomeArtifactStorage", "config": {}},
        "compute_logs": {"module": _CLASSES, "class": "HomeComputeLogs", "config": {}},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "concurrency": {**runs, "pools": {"default_limit": 1, "granularity": "run"}},
    }


def _storage(there: str) -> dict[str, Any]:
    """Return the storage settings; `there` is the home's current dagster.yaml. A home does not fall back to SQLite."""
    url = dagster_postgres_url()
    if url is not None:
        if not url.startswith("postgresql+psycopg2://"):
            raise ConfigError(
                f"begins with {url.partition('://')[0]}, which is not the driver psycopg2",
                where="AGAR_DAGSTER_POSTGRES_URL",
                next_step=f"set {_ADDRESS}",
            )
        if "@" in (_host_of(url) or "@"):
            raise ConfigError(
                "cannot be parsed, because its password contains characters that separate the parts of an address",
                where="AGAR_DAGSTER_POSTGRES_URL",
                next_step="write @ as %40, / as %2F, : as %3A, # as %23, % as %25",
            )
        if find_spec("dagster_postgres") is None:
            raise MissingPackageError.of(ModuleNotFoundError(name="dagster_postgres"))
        return POSTGRES
    if is_in_postgres(there):
        raise ConfigError(
            "has its Dagster history in Postgres, and AGAR_DAGSTER_POSTGRES_URL is not set",
            where=agar_home(),
            next_step=f"set {_ADDRESS}, or delete dagster/dagster.yaml there to begin a new history without it",
        )
    return _FILES


def _host_of(url: str) -> str | None:
    """Return the host as SQLAlchemy parses it; None if it cannot, since its own error would show the password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).host
    except (ArgumentError, ValueError):
        return None


def open_instance() -> dg.DagsterInstance:
    """Open the instance of this home, and mark runs as failed whose process has ended.

    The tables are created under a lock, because two first openings at the same time would fail.
    """
    with FileLock(dagster_home() / ".instance.lock"):
        instance = dg.DagsterInstance.get()
        fail_dead_runs(instance)
    return instance


def read_records(instance: dg.DagsterInstance, keys: Iterable[Key]) -> dict[Key, DagsterRecord]:
    """Return Dagster's record of the latest materialization of each asset. A test fixes the names of these tags."""
    by_asset_key = {to_asset_key(key): key for key in keys}
    records = {}
    for found in instance.get_asset_records(list(by_asset_key)):
        materialization = found.asset_entry.last_materialization
        if materialization is None or materialization.asset_materialization is None:
            continue
        tags = materialization.asset_materialization.tags or {}
        inputs = {
            name.removeprefix(_INPUT_PREFIX): version
            for name, version in tags.items()
            if name.startswith(_INPUT_PREFIX)
        }
        key = by_asset_key[found.asset_entry.asset_key]
        records[key] = DagsterRecord(tags.get("dagster/code_version"), tags.get("dagster/data_version"), inputs)
    return records
