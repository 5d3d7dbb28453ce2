"""Creates and checks the home: a folder that is private to its user and has a marker file.

A folder that holds anything else is refused before anything is created in it. A home from before markers existed is
recognised by its content and gets a marker.
Not here: temporary folders in a home (`scratch_folders`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from pathlib import Path

from agar_pipeline.config.places import HOME_LINK, HOME_MARKER, PROJECT, agar_home, default_home
from agar_pipeline.errors import StorageError
from agar_pipeline.files import disk, storage_errors
from agar_pipeline.ownership.home_place import warn_of_place
from agar_pipeline.text.name_list import name_some

FORMAT = 1
"""Format version of a home, stored in its marker. It is raised when an older version can no longer use the home."""
_OURS = frozenset(
    {"artifacts", "columns", "composed", "dagster", "demo", "docs", "fiftyone", "file_contents", "leases", "logs"}
    | {"mlflow", "quarantine", "reports", "resume", "tmp"}
)
"""Names of folders in a home from before markers existed."""
_OUR_FILES = re.compile(r"(file_hashes|file_checks|picture_hashes)\.sqlite(-wal|-shm|-journal)?")
_EVIDENCE = (
    "artifacts/*/*/manifest.json",
    "artifacts/*/*/*/manifest.json",
    "fiftyone/db/WiredTiger",
    "dagster/dagster.yaml",
    "dagster/storage/history/runs/index.db",
    "composed/*.json",
    "file_contents/*.json",
    "demo/plates",
    "file_hashes.sqlite",
)
"""A home from before markers existed contains at least one of these."""
_SYSTEMS = frozenset({"/", "/tmp", "/var/tmp", "/dev/shm"})  # noqa: S108 - refused as homes, not written to
_SHOWN = 3
"""Number of foreign files that a message names."""

STRAYS = re.compile(
    r"\.DS_Store|\._.*|\.localized|Thumbs\.db|ehthumbs\.db|desktop\.ini|\.nfs[0-9a-fA-F]+|\.fuse_hidden[0-9a-fA-F]+"
    r"|\.directory|lost\+found|@eaDir|\.Trash-\d+|\.snapshot",
    re.IGNORECASE,
)
"""Names of files that file managers and file systems put into any folder."""


def is_stray(path: str) -> bool:
    """Whether a path, relative to a folder, was put there by a file manager or a file system.

    >>> is_stray("plates/.DS_Store"), is_stray("plates/1.jpg")
    (True, False)
    """
    return any(STRAYS.fullmatch(part) for part in path.split("/"))


def open_home(home: Path) -> Path:
    """Create the home if it does not exist; add a marker to one from before markers existed. Cheap if nothing is to do.

    Raises:
        StorageError: the folder holds something that is not ours, was made by a newer version, or cannot be written.
    """
    if (home / HOME_MARKER).is_file():
        require_own(home)
    else:
        with storage_errors.clear_storage_errors(home):
            _make(home)
    if not os.environ.get("AGAR_HOME") and home == agar_home():
        link_checkout(home)
    return home


def require_own(home: Path) -> None:
    """Refuse a folder that is not a home, without creating anything. An empty or missing folder is accepted.

    Raises:
        StorageError: it is not a folder, holds something that is not ours, or was made by a newer version.
    """
    try:
        marker = json.loads((home / HOME_MARKER).read_text())
    except NotADirectoryError:
        raise StorageError(
            "cannot be the home, because it is not a folder, or lies below a file; nothing was written",
            where=home,
            next_step="set AGAR_HOME to a new or an empty folder",
        ) from None
    except FileNotFoundError:
        foreign = find_foreign(home)
        if foreign and not (home / HOME_MARKER).is_file():  # another process may be creating it
            raise _refusal(home, foreign) from None
        return
    except ValueError:
        raise StorageError(
            "is damaged",
            where=home / HOME_MARKER,
            next_step=f"remove it if {home} is a home of agar_pipeline: it is written again",
        ) from None
    made = marker.get("format") if isinstance(marker, dict) else None
    if not isinstance(made, int) or made > FORMAT:
        raise StorageError(
            f"has format {made!r}, but this agar_pipeline knows only format {FORMAT}",
            where=f"the home {home}",
            next_step="upgrade agar_pipeline, or set AGAR_HOME to another folder",
        )


def find_foreign(home: Path) -> list[str]:
    """Return the names of what is not ours in a folder without a marker, sorted. Empty: the folder may be a home.

    If all names could be ours but the files show no evidence of a home, all names are returned.
    """
    if not home.is_dir():
        return []
    there = sorted(path.name for path in home.iterdir())
    names = [name for name in there if not is_stray(name) and not name.startswith(f".{HOME_MARKER}.")]
    foreign = [name for name in names if not ((name in _OURS and (home / name).is_dir()) or _OUR_FILES.fullmatch(name))]
    known = not _holds_files(home, names) or any(True for pattern in _EVIDENCE for _ in home.glob(pattern))
    return foreign if foreign or known else names


def _holds_files(home: Path, names: list[str]) -> bool:
    """Whether anything but empty folders and hidden files, such as locks, is below these names."""
    return any(
        not file.startswith(".")
        for name in names
        for _, _, files in [("", [], [name] if (home / name).is_file() else []), *os.walk(home / name)]
        for file in files
    )


def _refusal(home: Path, foreign: list[str]) -> StorageError:
    shown = name_some([repr(name) for name in foreign], _SHOWN)
    return StorageError(
        f"cannot be the home, because it holds {shown}, which agar_pipeline did not make; nothing was written",
        where=home,
        next_step="set AGAR_HOME to a new or an empty folder",
    )


def _make(home: Path) -> None:
    """Create a folder of mode 0700. Its marker is written last, and atomically."""
    require_own(home)
    if os.path.lexists(HOME_LINK) and Path(os.path.realpath(HOME_LINK)) == home != default_home() and not home.exists():
        raise StorageError(
            f"leads to the home {home}, which does not exist",
            where=HOME_LINK,
            next_step="mount the disk of the home, or remove the link to begin with an empty home",
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o700)
    _make_private(home)
    marker = {"made_by": "agar_pipeline", "format": FORMAT, "id": secrets.token_hex(16)}
    disk.replace_file(home / HOME_MARKER, json.dumps(marker) + "\n", durable=True)
    warn_of_place(home)


def _make_private(home: Path) -> None:
    """Remove the access of other users to the home. A group that may write on purpose (setgid) keeps its access.

    A folder that belongs to another user (a volume that a cluster mounts) keeps its modes.
    """
    found = home.stat()
    if str(home) in _SYSTEMS or (found.st_mode & stat.S_ISVTX and found.st_uid != os.geteuid()):
        raise StorageError(
            "belongs to all users",
            where=home,
            next_step="set AGAR_HOME to a folder of your own, for instance to one below it",
        )
    shared = found.st_mode & stat.S_ISGID and found.st_mode & stat.S_IWGRP
    mode = stat.S_IMODE(found.st_mode) & (~0o007 if shared else ~0o077)
    if found.st_uid == os.geteuid() and mode != stat.S_IMODE(found.st_mode):
        home.chmod(mode)


def link_checkout(home: Path) -> None:
    """Make `.agar` in the project or checkout a link to its home, and `default_home()` too if the home is elsewhere.

    With the second link, a checkout that was moved finds its home again even after `git clean` removed `.agar`. In a
    checkout that cannot be written no link is made.
    """
    if PROJECT is None or home.is_relative_to(PROJECT):
        return
    for link in (HOME_LINK, default_home()):
        if not os.path.lexists(link) and link != home:
            with contextlib.suppress(OSError):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(home, target_is_directory=True)
