"""Hashes and measures image files, and caches the results under the home while the files are unchanged.

A cached result is used if path, size, mtime, ctime and inode are the same. Users cannot set the ctime, so that a file
replaced in place is recognised even if its size and mtime are preserved. `touch` only causes the file to be hashed once
more.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import stat
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from agar_pipeline.cluster.partitions import open_pool
from agar_pipeline.files.disk import SETTLED_NS
from agar_pipeline.files.file_system import connect_sqlite, sqlite_trouble
from agar_pipeline.ownership.home import open_home
from agar_pipeline.photos.formats import lacks_plugin, open_image

_WHOLE_BYTES = 64_000_000
_KEEP_EVERY_S = 10.0
_Key = tuple[int, int, int, int]
"""size, mtime_ns, ctime_ns, inode."""
_ABSENT: _Key = (-1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Record:
    size: int
    sha256: str | None
    width: int
    height: int
    orientation: int


_NO_FILE = _Record(-1, None, 0, 0, 1)


@dataclass(frozen=True)
class FileHashes:
    """Results for N paths, in the order of the request."""

    size_bytes: np.ndarray
    """(N,) int64; -1 if the path is not a regular file or cannot be opened."""
    sha256: list[str | None]
    """(N,) hexadecimal hashes; None if there is no readable file."""
    sizes_wh: np.ndarray
    """(N, 2) int64 width and height as displayed (EXIF orientation applied), pixels; 0, 0 if it is not an image."""
    orientations: np.ndarray
    """(N,) int64 EXIF orientations, 1…8; 1 is upright."""
    stamps: bytes
    """Sizes, times and inodes of all files; they differ if any file was changed, added or removed."""


class FileMemory:
    """Cache of hashes and sizes of image files; use it in a `with` block."""

    def __init__(
        self, home: Path, threads: int | None = None, on_read: Callable[[int], None] = lambda count: None
    ) -> None:
        """`on_read` is called after each file with the number of files that this call of `look_up` has read so far."""
        self._path = home / "file_hashes.sqlite"
        self._threads, self._on_read, self._stack = threads, on_read, contextlib.ExitStack()

    def __enter__(self) -> FileMemory:
        with _storage_errors(self._path):
            open_home(self._path.parent)
            self._memory = connect_sqlite(self._path)
            self._memory.execute("PRAGMA synchronous=NORMAL")
            self._memory.execute("DROP TABLE IF EXISTS files")
            self._memory.execute(
                "CREATE TABLE IF NOT EXISTS photos (path TEXT PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT,"
                " inode INT, sha256 TEXT, width INT, height INT, orientation INT) WITHOUT ROWID"
            )
        self._pool = self._stack.enter_context(open_pool(self._threads))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        with contextlib.suppress(sqlite3.Error):
            self._memory.commit()
        self._memory.close()

    def look_up(self, paths: Sequence[str]) -> FileHashes:
        """Return hashes and sizes of the files, from the cache or by reading them.

        Args:
            paths: Absolute paths; duplicates are allowed.

        Raises:
            StorageError: The home is not writable.
        """
        keys = [_key_of(path) for path in paths]
        with _storage_errors(self._path):
            known = self._recall(paths, keys)
            unknown = sorted({path for path, record in zip(paths, known, strict=True) if record is None})
            fresh = self._hash_all(unknown) if unknown else {}
        records = [record or fresh[path] for path, record in zip(paths, known, strict=True)]
        return FileHashes(
            size_bytes=np.array([record.size for record in records], dtype=np.int64),
            sha256=[record.sha256 for record in records],
            sizes_wh=np.array([(record.width, record.height) for record in records], dtype=np.int64).reshape(-1, 2),
            orientations=np.array([record.orientation for record in records], dtype=np.int64),
            stamps=np.array(keys, dtype=np.int64).tobytes(),
        )

    def _recall(self, paths: Sequence[str], keys: Sequence[_Key]) -> list[_Record | None]:
        """Return the cached record of each file; None if there is none, or the file has changed."""
        rows = self._memory.execute(
            "SELECT photos.path, size, mtime_ns, ctime_ns, inode, sha256, width, height, orientation"
            " FROM json_each(?) AS asked JOIN photos ON photos.path = asked.value",
            (json.dumps([path for path in paths if _is_text(path)]),),
        )
        known = {row[0]: row[1:] for row in rows}
        records: list[_Record | None] = []
        for path, key in zip(paths, keys, strict=True):
            row = known.get(path)
            if key == _ABSENT:
                records.append(_NO_FILE)
            else:
                records.append(_Record(key[0], *row[4:]) if row is not None and row[:4] == key else None)
        return records

    def _hash_all(self, paths: Sequence[str]) -> dict[str, _Record]:
        """Hash files in parallel and cache the results, with a commit every 10 s."""
        now_ns, kept_at = time.time_ns(), time.monotonic()
        fresh: dict[str, _Record] = {}
        for path, (key, record) in zip(paths, self._pool.map(_hash_file, paths), strict=True):
            fresh[path] = record
            self._on_read(len(fresh))
            settled = key is not None and abs(now_ns - key[2]) > SETTLED_NS
            if key is not None and settled and _is_text(path) and not lacks_plugin(path):
                row = (path, *key, record.sha256, record.width, record.height, record.orientation)
                self._memory.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            if time.monotonic() - kept_at > _KEEP_EVERY_S:
                self._memory.commit()
                kept_at = time.monotonic()
        self._memory.commit()
        return fresh


def hash_files(paths: Sequence[str], home: Path, threads: int | None = None) -> FileHashes:
    """Call `FileMemory.look_up` once, with a cache that is opened only for this call."""
    with FileMemory(home, threads) as memory:
        return memory.look_up(paths)


def stamp_files(paths: Sequence[str]) -> bytes:
    """Return the present value of `FileHashes.stamps`, without reading the files."""
    return np.array([_key_of(path) for path in paths], dtype=np.int64).tobytes()


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise sqlite_trouble(path, error) from error


def _is_text(path: str) -> bool:
    """Whether SQLite can store the path: Python represents names that are not UTF-8 with lone surrogates."""
    return path.isascii() or path == path.encode(errors="ignore").decode()


def _key_of(path: str) -> _Key:
    try:
        found = os.stat(path)  # noqa: PTH116 - three times as fast as Path.stat, for thousands of files
    except (OSError, ValueError):
        return _ABSENT
    return _key(found) if stat.S_ISREG(found.st_mode) else _ABSENT


def _key(found: os.stat_result) -> _Key:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _hash_file(path: str) -> tuple[_Key | None, _Record]:
    """Hash and measure one file; the key is None if the file changed during the read or cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            before = _key(os.fstat(file.fileno()))
            if before[0] <= _WHOLE_BYTES:
                content = file.read()
                digest, size = hashlib.sha256(content).hexdigest(), len(content)
                measured = measure_photo(io.BytesIO(content))
            else:
                digest, size = hashlib.file_digest(file, "sha256").hexdigest(), before[0]
                measured = measure_photo(path)
            after = _key(os.fstat(file.fileno()))
    except OSError:  # no permission, a disk error, or removed meanwhile
        return None, _NO_FILE
    return before if before == after else None, _Record(size, digest, *measured)


def displayed_size(source: str | io.BytesIO) -> tuple[int, int]:
    """Read the displayed width and height (EXIF orientation applied) from an image's header; 0, 0 if not an image."""
    return measure_photo(source)[:2]


def measure_photo(source: str | io.BytesIO) -> tuple[int, int, int]:
    """Read displayed width and height and the EXIF orientation from an image's header; 0, 0, 1 if not an image."""
    from PIL import Image

    from agar_pipeline.photos.exif_orientation import displayed_wh, read_orientation

    try:
        with warnings.catch_warnings(), open_image(source) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return *displayed_wh(image), read_orientation(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0, 1
