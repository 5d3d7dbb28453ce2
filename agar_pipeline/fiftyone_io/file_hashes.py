"""sha256 and displayed size of image files, remembered under the home as long as the files look untouched.

A file is known again by its path, size, mtime, ctime and inode. The ctime cannot be set by hand, so replacing a file
in place is seen even where its size and mtime are kept; a mere `touch` costs one more hashing and changes nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import stat
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.errors import DatasetError, StorageError

_WHOLE_BYTES = 64_000_000
_SETTLED_NS = 1_000_000_000
"""A file changed less than this ago is hashed again next time: within one tick of the clock a second change would
leave the same times behind."""
_SHOWN = 3
_ORIENTATION = 0x0112
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
_Stat = tuple[int, int, int, int]


@dataclass(frozen=True)
class FileHashes:
    """One row per path, in the order asked for."""

    size_bytes: np.ndarray
    """(N,) int64."""
    sha256: list[str]
    """Hexadecimal."""
    sizes_wh: np.ndarray
    """(N, 2) int64 width and height as displayed (EXIF orientation applied), pixels; 0, 0 where it is no image."""


def hash_files(paths: Sequence[str], home: Path, threads: int | None = None) -> FileHashes:
    """Hash the files, or remember their hashes.

    Args:
        paths: Absolute; the same one may come twice.
        home: Keeps `file_hashes.sqlite`.
        threads: None: one per processor.

    Raises:
        DatasetError: files are missing or no regular files; it counts them and names the first few.
        StorageError: the home cannot be written.
    """
    stats, missing = _stat_all(paths)
    if missing:
        names = ", ".join(repr(paths[row]) for row in missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
        raise DatasetError(
            f"{len(missing)} of {len(paths)} image files cannot be read: {names}\n"
            "put them back, or take their samples out of the dataset or view"
        )
    path = home / "file_hashes.sqlite"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as memory:
            _prepare(memory)
            known = _recall(memory, paths, stats)
            unknown = sorted({paths[row] for row, record in enumerate(known) if record is None})
            fresh = dict(zip(unknown, _hash_all(unknown, threads, memory), strict=True))
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{path} cannot be used ({error}): free space, or remove it") from error
    records = [record or fresh[paths[row]] for row, record in enumerate(known)]
    return FileHashes(
        size_bytes=np.array([record.size for record in records], dtype=np.int64),
        sha256=[record.sha256 for record in records],
        sizes_wh=np.array([(record.width, record.height) for record in records], dtype=np.int64).reshape(-1, 2),
    )


@dataclass(frozen=True, slots=True)
class _Record:
    size: int
    sha256: str
    width: int
    height: int


def _stat_all(paths: Sequence[str]) -> tuple[list[_Stat], list[int]]:
    """(size, mtime_ns, ctime_ns, inode) of each file, and the rows where there is no regular file."""
    stats: list[_Stat] = []
    missing: list[int] = []
    for row, path in enumerate(paths):
        try:
            found = os.stat(path)  # noqa: PTH116 - three times as fast as Path.stat, and there are thousands
        except (OSError, ValueError):
            found = None
        if found is None or not stat.S_ISREG(found.st_mode):
            missing.append(row)
        else:
            stats.append(_key(found))
    return stats, missing


def _key(found: os.stat_result) -> _Stat:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _prepare(memory: sqlite3.Connection) -> None:
    memory.execute("PRAGMA journal_mode=WAL")
    memory.execute("PRAGMA synchronous=NORMAL")
    memory.execute(
        "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT,"
        " sha256 TEXT, width INT, height INT) WITHOUT ROWID"
    )


def _recall(memory: sqlite3.Connection, paths: Sequence[str], stats: Sequence[_Stat]) -> list[_Record | None]:
    """What is remembered of each file; None where nothing is, or the file was touched since."""
    rows = memory.execute(
        "SELECT path, size, mtime_ns, ctime_ns, inode, sha256, width, height FROM files WHERE path BETWEEN ? AND ?",
        (min(paths, default=""), max(paths, default="")),
    )
    known = {row[0]: row[1:] for row in rows}
    records: list[_Record | None] = []
    for path, key in zip(paths, stats, strict=True):
        row = known.get(path)
        records.append(_Record(key[0], *row[4:]) if row is not None and row[:4] == key else None)
    return records


def _hash_all(paths: Sequence[str], threads: int | None, memory: sqlite3.Connection) -> Iterator[_Record]:
    """Hash in threads (hashing lets go of the GIL) and remember what had settled."""
    now_ns = time.time_ns()
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for path, (key, record) in zip(paths, pool.map(_hash_file, paths), strict=True):
            if key is not None and abs(now_ns - key[2]) > _SETTLED_NS:
                memory.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (path, *key, record.sha256, record.width, record.height),
                )
            yield record
    memory.commit()


def _hash_file(path: str) -> tuple[_Stat | None, _Record]:
    """Hash and measure one file; its key is None where the file changed in the meantime."""
    with open(path, "rb") as file:  # noqa: PTH123
        before = _key(os.fstat(file.fileno()))
        if before[0] <= _WHOLE_BYTES:
            content = file.read()
            digest, size = hashlib.sha256(content).hexdigest(), len(content)
            width, height = displayed_size(io.BytesIO(content))
        else:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), before[0]
            width, height = displayed_size(path)
        after = _key(os.fstat(file.fileno()))
    return before if before == after else None, _Record(size, digest, width, height)


def displayed_size(source: str | io.BytesIO) -> tuple[int, int]:
    """Width and height from an image's header, as a viewer shows it (EXIF orientation applied); 0, 0 where none."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(source) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            turned = image.getexif().get(_ORIENTATION, 1) in _QUARTER_TURNS
            return (image.height, image.width) if turned else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0
