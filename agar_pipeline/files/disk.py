"""Syncs, hashes, links and removes files, and replaces them atomically."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})

SETTLED_NS = 1_000_000_000
"""Nanoseconds after its last change within which a file's hash is not cached: a second change in the same clock tick
would have the same times."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_file(path: Path, content: str | bytes, *, mode: int = 0o666, durable: bool = False) -> None:
    """Write a file by a rename, so that no reader sees half of it.

    Args:
        path: Its folder exists. The draft is written to the same folder as `.NAME.PID`.
        content: Text is written as UTF-8.
        mode: Mode of the file, reduced by the umask.
        durable: Whether to return only when the file would survive a power loss. Not needed if it can be made again.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # left by a dead process with the same process id
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    if durable:
        sync(draft)
    draft.replace(path)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Return when a file, or the entries of a folder, would survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """`sync` all files below a folder; each folder is synced after its content."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder. It is not an error if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def link_or_copy(source: Path, path: Path) -> bool:
    """Link a file to `path`, or copy it with its mtime if that is not possible; return whether it was linked.

    Raises:
        FileExistsError: something exists at `path`; it is not changed.
    """
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with path.open("xb") as target, source.open("rb") as stream:
            shutil.copyfileobj(stream, target)
        shutil.copystat(source, path)
        return False
    return True


def size_bytes(root: Path) -> int:
    """Return the bytes of a file, or of all files below a folder. Files that are removed meanwhile do not count."""
    total = 0
    for path in [root, *root.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def show_bytes(size: float) -> str:
    """Format a number of bytes.

    >>> show_bytes(12_345_678), show_bytes(512)
    ('12.3 MB', '512 bytes')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
