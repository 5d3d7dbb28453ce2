"""Finds the file system that a folder is on, and whether SQLite's write-ahead log is safe there.

The log (WAL) needs memory that all processes share through a mapped file. A network file system provides that within
one machine at most, and some other file systems do not provide it: files are damaged or cannot be opened. With a
rollback journal SQLite needs locks only. Here: the checks, and opening SQLite files in a safe mode. Not here: locks of
our own (`locks`).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from agar_pipeline.errors import StorageError
from agar_pipeline.files import storage_errors

MOUNTS = Path("/proc/self/mountinfo")
_SHARED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "afs", "ncpfs", "coda"}
    | {"lustre", "gpfs", "ceph", "beegfs", "glusterfs", "orangefs", "pvfs2", "panfs", "gfs2", "ocfs2", "wekafs"}
)
"""Network file systems, and folders that a virtual machine shares with its host."""
_LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs", "fuse.lxcfs"})
_LOCKS_OF_ONE_MACHINE = re.compile(r"(^|,)(nolock|local_lock=(all|flock|posix)|nobrl)(,|$)")
_WAL_VERSION = 2
"""Format version for reading and for writing, bytes 18 and 19 of an SQLite file: https://www.sqlite.org/fileformat.html
"""


def mounted(folder: Path) -> tuple[str, str]:
    """Return type and options of the file system that a folder is on; both are empty if they are unknown."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "", ""
    place, found = os.path.realpath(folder), ("", ("", ""))
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):  # of two mounts at one point, the later one is visible
            found = point, (kind[0], f"{fields[5]},{kind[2]}")
    return found[1]


def is_network(kind: str) -> bool:
    return kind in _SHARED or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


@cache
def doubt(folder: Path) -> str | None:
    """Say why SQLite's write-ahead log is not safe in an existing folder; None if it is safe."""
    kind, options = mounted(folder)
    if is_network(kind):
        reach = ", whose locks do not reach other machines" if _LOCKS_OF_ONE_MACHINE.search(options) else ""
        return f"is on a network or shared file system ({kind}){reach}"
    if not _maps_memory(folder):
        return f"is on a file system without shared memory mapping ({kind or 'of unknown type'})"
    return None


def note(home: Path) -> str | None:
    """Return a note to print once at the start of a run; None if there is no doubt.

    Raises:
        StorageError: locks do not work there, so that two runs at once would damage files that both write.
    """
    require_locks(home)
    why = doubt(home)
    if why is None:
        return None
    return (
        f"note: the home {home} {why}: Dagster's history is kept without a write-ahead log, and mongod is not made for "
        "such a disk; set AGAR_HOME to a local disk, and share artifacts through AGAR_STORE"
    )


def require_locks(folder: Path) -> None:
    """Raise StorageError if locks are refused, or granted to two holders at once."""
    with storage_errors.clear_storage_errors(folder), _two_descriptors(folder) as (one, other):
        # SQLite's kind of lock. It belongs to the process, so that only its availability can be tested.
        fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise StorageError(
        "is on a file system whose locks do not hold, so that two runs at once would damage each other's files",
        where=folder,
        next_step="set AGAR_HOME to a local disk",
    )


def connect_sqlite(path: Path) -> sqlite3.Connection:
    """Open an SQLite file with a write-ahead log if that is safe, else with a rollback journal.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    if doubt(path.parent) is not None:
        leave_wal(path)
        return sqlite3.connect(path, timeout=30)
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


def sqlite_trouble(path: Path, error: Exception) -> StorageError:
    """Explain to the user why an SQLite file of the home cannot be used. Its content can be rebuilt."""
    found = storage_errors.find_os_error(error)
    if found is not None:
        return storage_errors.storage_error(found, path)
    return StorageError(f"cannot be used ({error})", where=path, next_step="remove the file: it is made again")


def leave_wal(path: Path) -> None:
    """Merge a write-ahead log into its SQLite file and switch to a rollback journal. Does nothing if there is no log.

    Raises:
        sqlite3.Error: another process has the file open.
    """
    if not has_wal(path):
        return
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # in this mode the log is read without shared memory
        connection.execute("PRAGMA journal_mode=DELETE")


def has_wal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == bytes([_WAL_VERSION, _WAL_VERSION])
    except FileNotFoundError:
        return False


def _maps_memory(folder: Path) -> bool:
    """Whether a write into one shared mapping of a file is seen in another one."""
    try:
        with _two_descriptors(folder) as (one, other):
            # Allocates the page: on a full disk, a write into a mapped page that is not allocated ends in SIGBUS.
            os.write(one, bytes(mmap.PAGESIZE))
            with mmap.mmap(one, mmap.PAGESIZE) as writer, mmap.mmap(other, mmap.PAGESIZE) as reader:
                writer[0] = 1
                return reader[0] == 1
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in storage_errors.FULL:
            raise storage_errors.storage_error(error, folder) from error  # type: ignore[arg-type]
        return False


@contextlib.contextmanager
def _two_descriptors(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield two descriptors of one empty file that has been unlinked."""
    one, name = tempfile.mkstemp(prefix=".probe-", dir=folder)
    try:
        try:
            other = os.open(name, os.O_RDWR)
        finally:
            Path(name).unlink()
        try:
            yield one, other
        finally:
            os.close(other)
    finally:
        os.close(one)
