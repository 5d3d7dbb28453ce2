"""What is asked of the file system, whatever the files mean: sync, hash, link, remove, replace in one piece."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})


def sha256_of(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_file(path: Path, content: str | bytes, *, mode: int = 0o666, durable: bool = False) -> None:
    """Write a file by rename, so that nobody reads half of it.

    Args:
        path: Its folder exists; the draft is there as well, `.NAME.PID`.
        content: Text is written as UTF-8.
        mode: Of the file, less what the umask takes away.
        durable: Return once it would survive a power loss; otherwise for what can be made again.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a dead process that had the same number
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    if durable:
        sync(draft)
    draft.replace(path)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Return once a file, or the entries of a folder, would survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """`sync` all files of a folder, and the folders after what is in them."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; what is gone already is no error."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def link_or_copy(source: Path, path: Path) -> bool:
    """Whether a file could be linked into its place; copied with its mtime otherwise.

    Raises:
        FileExistsError: something is there already; it is left alone.
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
    """Bytes of all files below a folder, or of a file; what vanishes meanwhile does not count."""
    total = 0
    for path in [root, *root.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def show_bytes(size: float) -> str:
    """`12.3 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
