"""Reads and writes files by name on any fsspec file system; writes are atomic, errors are readable by a user.

Here: the only use of fsspec, which is imported only if a shared store is configured.
Not here: what the files mean (`shared_store`).
"""

from __future__ import annotations

import contextlib
import errno
import posixpath
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from agar_pipeline.errors import MissingPackageError, PipelineError, SharedStoreError, from_fields
from agar_pipeline.files.storage_errors import FULL
from agar_pipeline.text.secrets import mask

PATIENCE_S = 30
"""Seconds for which an unreachable store is not tried again; one try may take a minute."""
T = TypeVar("T")


class RemoteFiles:
    """The files below one URL; thread-safe. Every method raises SharedStoreError if the store cannot be used."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.error: SharedStoreError | None = None
        """The last failure; None again after a later call has succeeded."""
        self._failed_at = 0.0

    def __str__(self) -> str:
        """Return the URL without the password that it may hold."""
        return mask(self.url)

    def read(self, name: str) -> bytes | None:
        def read(fs: Any, path: str) -> bytes | None:
            with contextlib.suppress(FileNotFoundError):
                return bytes(fs.cat_file(path))
            return None

        return self._ask(name, read)

    def size_bytes(self, name: str) -> int | None:
        def size(fs: Any, path: str) -> int | None:
            with contextlib.suppress(FileNotFoundError):
                return int(fs.info(path)["size"])
            return None

        return self._ask(name, size)

    def download(self, name: str, target: Path) -> bool:
        def get(fs: Any, path: str) -> bool:
            with contextlib.suppress(FileNotFoundError):
                fs.get_file(path, str(target))
                return True
            return False

        return self._ask(name, get)

    def upload(self, source: Path, name: str) -> None:
        self._ask(name, lambda fs, path: _place(fs, path, lambda part: fs.put_file(str(source), part)))

    def write(self, name: str, text: bytes) -> None:
        self._ask(name, lambda fs, path: _place(fs, path, lambda part: fs.pipe_file(part, text)))

    def create(self, name: str, text: bytes) -> bool:
        """Write a small file unless one exists; atomic if the file system supports it.

        Returns:
            Whether the file now holds `text`.
        """
        return self._ask(name, lambda fs, path: _create(fs, path, text))

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system, and the root path in it."""
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        fs, root = url_to_fs(self.url, use_listings_cache=False)
        if isinstance(fs, LocalFileSystem) and not fs.isdir(root):  # an unmounted mount point stays empty
            raise NotADirectoryError(errno.ENOTDIR, "there is no such folder", root)
        return fs, root.rstrip("/")

    def _ask(self, name: str, call: Callable[[Any, str], T]) -> T:
        """Return what `call` returns for the file.

        A SharedStoreError is raised without an OSError as its cause, because such a cause would be taken for trouble
        with the home. The OSError of a full disk is raised as it is.
        """
        began_at = time.monotonic()
        if (before := self.error) is not None and began_at < self._failed_at + PATIENCE_S:
            raise from_fields(before.fields)  # a new object: several threads may raise it
        told: PipelineError
        try:
            fs, root = self._place
            found = call(fs, f"{root}/{name}")
            if began_at > self._failed_at:  # keep the failure that another thread has recorded since
                self.error = None
            return found
        except Exception as error:  # each file system raises its own error types
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            if isinstance(error, ImportError) and self.url.startswith("s3"):
                told = MissingPackageError.of(ModuleNotFoundError(name="s3fs"))
            else:
                told = self.error = _unusable(self, error)
                self._failed_at = time.monotonic()
        raise told


def _unusable(files: RemoteFiles, error: Exception) -> SharedStoreError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SharedStoreError(
        f"cannot be used: {cause}",
        where=f"the shared store {files}",
        next_step="check AGAR_STORE, the network and the credentials, make or mount the folder, or unset AGAR_STORE to "
        "use the home alone",
    )


def _place(fs: Any, path: str, write: Callable[[str], object]) -> None:
    """Write a file atomically.

    An object store (`async_impl`) shows an object only once it is complete. On other file systems the file is written
    under a temporary name and renamed.
    """
    if fs.async_impl:
        write(path)
        return
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    part = f"{path}.{uuid.uuid4().hex}.part"
    write(part)
    fs.mv(part, path)


def _create(fs: Any, path: str, text: bytes) -> bool:
    try:
        if not hasattr(fs, "link"):
            fs.pipe_file(path, text, mode="create")  # on S3 this sends If-None-Match
            return True
        part = f"{path}.{uuid.uuid4().hex}.part"
        fs.makedirs(posixpath.dirname(path), exist_ok=True)
        fs.pipe_file(part, text)
        try:
            fs.link(part, path)
        finally:
            with contextlib.suppress(OSError):  # a leftover is harmless: small, and nobody reads it
                fs.rm_file(part)
        return True
    except OSError:  # file systems raise different errors for an existing file
        if not fs.exists(path):
            raise
        return bool(fs.cat_file(path) == text)
