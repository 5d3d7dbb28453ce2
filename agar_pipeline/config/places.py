"""Where things lie, and which pipeline is meant: the only readers of AGAR_… variables."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePath

from agar_pipeline.errors import ConfigError
from agar_pipeline.text.safe_text import as_command

CHECKOUT = Path(__file__).resolve().parent.parent.parent
HOME_LINK = CHECKOUT / ".agar"
"""A link to the home, so that its files have short names; in older checkouts the home itself."""
HOME_MARKER = "agar-home.json"
"""The file in a home that says it is one; `ownership.home` writes it."""


OURS = ".agar-"
"""What the names of files and folders begin with that are only for our own use, in whatever folder they lie."""


def is_for_our_own_use(path: str | PurePath) -> bool:
    """Whether a relative path leads to a list of ours, or into a draft folder: no photo or label of anybody's."""
    return any(part.startswith(OURS) for part in PurePath(path).parts)


def expanded(named: str | Path) -> Path:
    """A path with `~` written out.

    Raises:
        ConfigError: the user has no home folder, as in some containers.
    """
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise ConfigError(f"{named}: this user has no home folder: set HOME, or write the path without ~") from None


def agar_home() -> Path:
    """The folder that holds everything the pipeline writes, links followed, so that a home has one name only.

    `AGAR_HOME`, else what `.agar` in the checkout is or leads to, else the checkout's own folder in the user's data.
    """
    named = os.environ.get("AGAR_HOME")
    if named:
        return Path(os.path.realpath(expanded(named)))
    return Path(os.path.realpath(HOME_LINK if os.path.lexists(HOME_LINK) else default_home()))


def default_home() -> Path:
    """Where the home of this checkout is without `AGAR_HOME`: outside, where `git clean` and a new clone spare it.

    `$XDG_DATA_HOME/agar_pipeline/<checkout's name>-<hash of its path>`. A user without a folder for data that can be
    written has it in the checkout after all.
    """
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():
        data = Path(os.path.expanduser("~/.local/share"))  # noqa: PTH111 - stays as it is where the user has no folder
    place = data / "agar_pipeline" / f"{CHECKOUT.name}-{hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:8]}"
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    usable = data.is_absolute() and nearest.is_dir() and os.access(nearest, os.W_OK)
    return place if usable else HOME_LINK


def home_is_made() -> bool:
    """Whether the home is there. What merely saves time is remembered only then: it makes no home by itself."""
    return (agar_home() / HOME_MARKER).is_file()


def store_url() -> str | None:
    """`AGAR_STORE`: the fsspec address of a store that several homes share; None: the home keeps to itself."""
    return os.environ.get("AGAR_STORE") or None


def store_key_file() -> Path | None:
    """`AGAR_STORE_KEY_FILE`: the keys with which the lab signs what goes into the shared store; None: unsigned."""
    named = os.environ.get("AGAR_STORE_KEY_FILE")
    return expanded(named).absolute() if named else None


def configs_dir() -> Path:
    """The folder of the config groups: `AGAR_CONFIGS`, else `configs/` in the checkout."""
    return expanded(os.environ.get("AGAR_CONFIGS") or CHECKOUT / "configs").absolute()


def images_dir_now() -> Path | None:
    """`AGAR_IMAGES_DIR`: where the photos that COCO caches point to lie now; None: where they were."""
    named = os.environ.get("AGAR_IMAGES_DIR")
    return expanded(named).absolute() if named else None


def database_address(database: str) -> str:
    """What `env:NAME` or `file:PATH` stands for; any other word as it is. So no file of configs holds a password.

    Raises:
        ConfigError: there is no such variable or file, or others may read the file.
    """
    kind, _, name = database.partition(":")
    if kind == "env":
        if not (address := os.environ.get(name)):
            raise ConfigError(f"`database: {database}`, but {name} is not set: export {name}=mongodb://…")
        return address
    if kind == "file" and not name.startswith("//"):
        return read_private(expanded(name), f"`database: {database}`").decode().strip()
    return database


def database_variables(database: str) -> tuple[str, ...]:
    """The variables that may hold the address, with a password in it."""
    if database == "fiftyone":
        return ("FIFTYONE_DATABASE_URI",)
    return (database.removeprefix("env:"),) if database.startswith("env:") else ()


def read_private(path: Path, what: str) -> bytes:
    """The bytes of a file that holds a secret; `what` names it in messages.

    Raises:
        ConfigError: it cannot be read, belongs to somebody else, or others may read or change it.
    """
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read ({error.strerror}): make it, or name another") from error
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{what}: {path} belongs to user {found.st_uid}, not to you: take a file of your own")
    if found.st_mode & 0o077:
        raise ConfigError(f"{what}: others may read or change {path}: {as_command('chmod', '600', path)}")
    return content


def database_idle_s() -> float:
    """Seconds without a client after which the embedded database ends: `AGAR_DATABASE_IDLE_S`, else three minutes.

    Its start is most of the time of a plan, so it stays for as long as somebody thinks between two commands.
    """
    text = os.environ.get("AGAR_DATABASE_IDLE_S") or "180"
    if not text.replace(".", "", 1).isdecimal():
        raise ConfigError(f"AGAR_DATABASE_IDLE_S={text} must be a number of seconds, 0 or more")
    return float(text)


def stop_file() -> Path | None:
    """`AGAR_STOP_FILE`: appears when a training whose processes nobody can signal shall stop."""
    named = os.environ.get("AGAR_STOP_FILE")
    return Path(named) if named else None


def pipeline_name() -> str:
    """`AGAR_PIPELINE`, else `demo`."""
    return os.environ.get("AGAR_PIPELINE") or "demo"


def dagster_postgres_url() -> str | None:
    """`AGAR_DAGSTER_POSTGRES_URL`: the Postgres server that holds Dagster's history; None: files in the home do."""
    return os.environ.get("AGAR_DAGSTER_POSTGRES_URL")


def max_runs() -> int | None:
    """`AGAR_MAX_RUNS`: how many queued runs Dagster's daemon lets go at once; None: as many as Dagster thinks."""
    return _count("AGAR_MAX_RUNS")


def gpus_per_run() -> int | None:
    """`AGAR_GPUS_PER_RUN`: what a run that trains asks Kubernetes for; None: nothing."""
    return _count("AGAR_GPUS_PER_RUN")


def _count(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{name}={text} must be a whole number, 1 or more")
    return int(text)
