"""Paths of the home and the configs, and the chosen pipeline. Other code does not read AGAR_… variables itself."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path, PurePath

from agar_pipeline.errors import ConfigError

PACKAGED = Path(__file__).resolve().parent.parent / "lab"
"""Files that `agar init` writes into a lab's project. In a checkout they are links to its own."""
CHECKOUT = PACKAGED.parent.parent
"""The checkout that this code is in; meaningless if the package was installed from a wheel."""
PROJECT_MARKER = "agar-project.json"
"""The file that marks a folder as a lab's project; `agar init` writes it."""


def find_project(here: Path) -> Path | None:
    """Return the folder with `configs/` that commands called in `here` use.

    It is the nearest lab's project at or above `here`, else the checkout of this code; None if there is neither. A
    folder that every user may write to, such as /tmp, is never a project: others could choose the settings.
    """
    for folder in (here, *here.parents):
        if (folder / PROJECT_MARKER).is_file() and not folder.stat().st_mode & stat.S_IWOTH:
            return folder
    return CHECKOUT if (CHECKOUT / "pyproject.toml").is_file() else None


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed meanwhile
        return Path("/")


PROJECT = find_project(_current_folder())
"""The folder with `configs/`, as of the start of this process; children start in the same folder, so they agree."""
HOME_LINK = (PROJECT or _current_folder()) / ".agar"
"""A link to the home, so that its files have short names. In older checkouts it is the home itself."""
HOME_MARKER = "agar-home.json"
"""The file that marks a folder as a home; `ownership.home` writes it."""


OURS = ".agar-"
"""Prefix of the names of files and folders that are for internal use, in any folder."""


def is_for_our_own_use(path: str | PurePath) -> bool:
    """Whether a relative path is, or is inside, an internal file or draft folder, not a photo or label file."""
    return any(part.startswith(OURS) for part in PurePath(path).parts)


def expanded(named: str | Path) -> Path:
    """Return a path with `~` expanded.

    Raises:
        ConfigError: the user has no home folder, as in some containers.
    """
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise ConfigError(
            "cannot be expanded, because this user has no home folder",
            where=named,
            next_step="set HOME, or write the path without ~",
        ) from None


def agar_home() -> Path:
    """Return the folder that holds everything the pipeline writes. Links are followed, so that it has one name only.

    It is `AGAR_HOME` if set, else the target of `.agar` in the project or checkout if that exists, else
    `default_home()`.
    """
    named = os.environ.get("AGAR_HOME")
    if named:
        return Path(os.path.realpath(expanded(named)))
    return Path(os.path.realpath(HOME_LINK if PROJECT and os.path.lexists(HOME_LINK) else default_home()))


def default_home() -> Path:
    """Return the home of this project or checkout if `AGAR_HOME` is not set. It is outside, safe from `git clean`.

    The path is `$XDG_DATA_HOME/agar_pipeline/<project's name>-<hash of its path>`, without a project
    `$XDG_DATA_HOME/agar_pipeline/home`, or `.agar` in the project if the user has no data folder that can be written.
    """
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():
        data = Path(os.path.expanduser("~/.local/share"))  # noqa: PTH111 - stays as it is if the user has no folder
    name = f"{PROJECT.name}-{hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:8]}" if PROJECT else "home"
    place = data / "agar_pipeline" / name
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    usable = data.is_absolute() and nearest.is_dir() and os.access(nearest, os.W_OK)
    return place if usable else HOME_LINK


def home_is_made() -> bool:
    """Whether the home exists. Caches are written only then, so that caching never creates a home."""
    return (agar_home() / HOME_MARKER).is_file()


def store_url() -> str | None:
    """`AGAR_STORE`: the fsspec address of a store that several homes share; None: the home uses its own store only."""
    return os.environ.get("AGAR_STORE") or None


def store_key_file() -> Path | None:
    """`AGAR_STORE_KEY_FILE`: the keys that sign artifacts in the shared store; None: they are not signed."""
    named = os.environ.get("AGAR_STORE_KEY_FILE")
    return expanded(named).absolute() if named else None


def configs_dir() -> Path:
    """The folder of the config groups: `AGAR_CONFIGS`, or `configs/` in the project or checkout, or the package's."""
    return expanded(os.environ.get("AGAR_CONFIGS") or (PROJECT or PACKAGED) / "configs").absolute()


def own_configs_dir() -> Path:
    """As `configs_dir()`, to write into.

    Raises:
        ConfigError: they are the package's, which an upgrade replaces.
    """
    folder = configs_dir()
    if folder == PACKAGED / "configs":
        raise ConfigError(
            "there is no folder for config files here",
            next_step="make one with `agar init FOLDER`, and call agar there; or set AGAR_CONFIGS",
        )
    return folder


def images_dir_now() -> Path | None:
    """`AGAR_IMAGES_DIR`: the current folder of the photos that COCO caches refer to; None: they were not moved."""
    named = os.environ.get("AGAR_IMAGES_DIR")
    return expanded(named).absolute() if named else None


def database_idle_s() -> float:
    """Seconds without a client after which the embedded database stops: `AGAR_DATABASE_IDLE_S`, by default 180.

    Starting the database takes most of the time of a plan, so it keeps running between two commands of a user.
    """
    text = os.environ.get("AGAR_DATABASE_IDLE_S") or "180"
    if not text.replace(".", "", 1).isdecimal():
        raise ConfigError(
            "must be a number of seconds, 0 or more",
            where="AGAR_DATABASE_IDLE_S",
            value=text,
            next_step="set it to a number, or unset it",
        )
    return float(text)


def stop_file() -> Path | None:
    """`AGAR_STOP_FILE`: when this file appears, a training whose processes cannot be signalled stops."""
    named = os.environ.get("AGAR_STOP_FILE")
    return Path(named) if named else None


def pipeline_name() -> str:
    """`AGAR_PIPELINE`, or `demo`."""
    return os.environ.get("AGAR_PIPELINE") or "demo"


def dagster_postgres_url() -> str | None:
    """`AGAR_DAGSTER_POSTGRES_URL`: the Postgres server for Dagster's history; None: it is in files in the home."""
    return os.environ.get("AGAR_DAGSTER_POSTGRES_URL")


def max_runs() -> int | None:
    """`AGAR_MAX_RUNS`: how many queued runs Dagster's daemon runs at once; None: Dagster's default."""
    return _count("AGAR_MAX_RUNS")


def gpus_per_run() -> int | None:
    """`AGAR_GPUS_PER_RUN`: how many GPUs a training run requests from Kubernetes; None: no request."""
    return _count("AGAR_GPUS_PER_RUN")


def _count(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            "must be a whole number, 1 or more",
            where=name,
            value=text,
            next_step="set it to such a number, or unset it",
        )
    return int(text)
