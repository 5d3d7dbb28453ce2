"""Writes and reads the file of a backup: a compressed tar whose last member lists all others with their hashes.

Here: writing a file that has been read back before it gets its name; reading files that may be malicious.
Not here: what a backup contains (`backup`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from agar_pipeline.errors import StorageError
from agar_pipeline.files import disk, locks, storage_errors

INDEX = "agar-backup.json"
FORMAT = 1
_BLOCK = 1 << 20
_INDEX_BYTES = 256_000_000
_HEADER_BYTES = 65_536
_NAME = re.compile(r"(database|artifacts|manifests|configs)(/[^/\0]{1,255})+")
_OTHER_COPY = "use another copy of the backup"
_NOT_READABLE = (tarfile.TarError, zlib.error, EOFError, ValueError, TypeError, KeyError, AttributeError)


class Writer:
    """Adds members to a backup that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: list[dict[str, Any]] = []

    def add(self, name: str, source: Path | bytes) -> None:
        """Add a file, or bytes, as a member; links, owner and mode are not saved."""
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            member = tarfile.TarInfo(name)
            member.size = len(source) if isinstance(source, bytes) else os.fstat(stream.fileno()).st_size
            hashed = _Hashed(stream)
            self._tar.addfile(member, hashed)
        found = {"name": name, "size_bytes": member.size, "sha256": hashed.digest.hexdigest()}
        if name != INDEX:
            self.members.append(found)


class _Hashed:
    """A stream that hashes the bytes read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self.digest.update(block)
        return block


def write_backup(path: Path, fill: Callable[[Writer], Mapping[str, Any]]) -> dict[str, Any]:
    """Write a backup, read it back, and only then give it its name; an existing file is never replaced.

    Args:
        fill: Adds the members; returns additional entries of the index.

    Raises:
        StorageError: the file exists already, the disk is full, or the file that was read back differs.
    """
    if os.path.lexists(path):
        raise StorageError(
            "exists already; a backup never replaces a file, so nothing was written",
            where=path,
            next_step="give another name, or move the file away",
        )
    draft = path.with_name(f".{path.name}.unfinished-{os.getpid()}")
    with contextlib.ExitStack() as stack, storage_errors.clear_storage_errors(path):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        stack.callback(draft.unlink, missing_ok=True)
        stack.enter_context(locks.locked(draft))
        with os.fdopen(descriptor, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as tar:
                writer = Writer(tar)
                index = {"format": FORMAT, **fill(writer), "members": writer.members}
                writer.add(INDEX, json.dumps(index, indent=1).encode())
            stream.flush()
            os.fsync(stream.fileno())
        if read_index(draft, room=None) != index:
            raise StorageError(
                "differs from what was written to it: the disk returned other bytes",
                where=draft,
                next_step="check the disk, then run the command again",
            )
        _give_name(draft, path)
    return index


def _give_name(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a rename, it does not replace an existing file
    except FileExistsError:
        raise StorageError(
            "was created by another process in the meantime, so no backup was written",
            where=path,
            next_step="give another name",
        ) from None
    except OSError as error:
        if error.errno not in disk.NO_LINKS or os.path.lexists(path):
            raise
        draft.rename(path)
    disk.sync(path.parent)


def read_index(path: Path, room: int | None) -> dict[str, Any]:
    """Read a whole backup, check every member against the index, and return the index.

    Args:
        room: Maximum size of the unpacked content, bytes; None for no limit.

    Raises:
        StorageError: it is damaged, truncated, or not a backup of agar_pipeline.
    """
    with _told_if_damaged(path):
        return _read_index(path, room)


def _read_index(path: Path, room: int | None) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    index: dict[str, Any] | None = None
    for member, stream in _members(path, room):
        if index is not None:
            raise StorageError(
                f"is not a backup of agar_pipeline: {member.name!r} comes after its index",
                where=path,
                next_step=_OTHER_COPY,
            )
        if member.name == INDEX:
            index = _parse_index(path, stream.read(_INDEX_BYTES))
            continue
        digest = hashlib.sha256()
        while block := stream.read(_BLOCK):
            digest.update(block)
        found.append({"name": member.name, "size_bytes": member.size, "sha256": digest.hexdigest()})
    if index is None:
        raise StorageError(
            "has no index: it is cut off, or not a backup of agar_pipeline", where=path, next_step=_OTHER_COPY
        )
    if index["members"] != found:
        known = {json.dumps(each) for each in index["members"]}
        bad = next((each["name"] for each in found if json.dumps(each) not in known), "a member")
        raise StorageError(f"is damaged: {bad} differs from what its index says", where=path, next_step=_OTHER_COPY)
    return index


def _parse_index(path: Path, text: bytes) -> dict[str, Any]:
    index = json.loads(text)
    made = index.get("format")
    if made != FORMAT:
        raise StorageError(
            f"has the backup format {made!r}, and this agar_pipeline reads only {FORMAT}",
            where=path,
            next_step="upgrade agar_pipeline to the version that made the backup",
        )
    return dict(index)


class _PlainInfo(tarfile.TarInfo):
    """A tar member with headers of limited size: `tarfile` reads each header into memory as a whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in tarfile.REGULAR_TYPES and self.size > _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


def _members(path: Path, room: int | None) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield each member with its bytes; only plain files with names that a backup uses, each once, up to `room`."""
    seen: set[str] = set()
    total = 0
    with tarfile.open(path, mode="r|gz", tarinfo=_PlainInfo) as tar:
        for member in tar:
            name = member.name
            total += member.size
            if not member.isreg() or member.issparse() or name in seen or not _is_ours(name):
                raise StorageError(
                    f"is not a backup of agar_pipeline, so nothing was restored: it holds {name!r}",
                    where=path,
                    next_step=_OTHER_COPY,
                )
            if (room is not None and total > room) or (name == INDEX and member.size > _INDEX_BYTES):
                raise StorageError(
                    "is too large to be unpacked, so nothing was restored: "
                    f"it holds more than {disk.show_bytes(room or _INDEX_BYTES)}",
                    where=path,
                    next_step="set AGAR_HOME to a folder on a disk with more free space",
                )
            seen.add(name)
            stream = tar.extractfile(member)
            assert stream is not None
            yield member, stream


@contextlib.contextmanager
def _told_if_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except _NOT_READABLE as error:
        raise StorageError(
            f"is damaged, or not a backup of agar_pipeline: {error}", where=path, next_step=_OTHER_COPY
        ) from error


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    return name == INDEX or bool(_NAME.fullmatch(name) and not {".", "..", ""} & set(parts))


def unpack(path: Path, folder: Path) -> dict[str, Any]:
    """Unpack a backup into an empty folder, and return its index; the whole file is checked before anything is written.

    Raises:
        StorageError: see `read_index`; or the file changed between the two passes.
    """
    room = shutil.disk_usage(folder).free
    with storage_errors.clear_storage_errors(path), _told_if_damaged(path):
        index = read_index(path, room)
        hashes = {each["name"]: each["sha256"] for each in index["members"]}
        for member, stream in _members(path, room):
            if member.name == INDEX:
                continue
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with target.open("xb") as output:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    output.write(block)
            if digest.hexdigest() != hashes.get(member.name):
                raise StorageError(
                    "changed while it was read",
                    where=path,
                    next_step="run the command again when nobody writes to the file any more",
                )
    return index


def remove_unfinished(path: Path) -> None:
    """Remove the unfinished files of backups of this name whose process has ended; a living process holds a lock."""
    for left in path.parent.glob(f".{path.name}.unfinished-*"):
        with contextlib.suppress(OSError), locks.free(left) as is_free:
            if is_free and left.name.rpartition("-")[2].isdecimal():
                left.unlink()
