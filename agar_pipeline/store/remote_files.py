"""Files by name on any file system that fsspec knows: whole or not there, and errors in the words of a user.

Here: the only use of fsspec, imported only where there is such a store. Not here: what the files mean (`shared`).
"""

from __future__ import annotations

import contextlib
import errno
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from agar_pipeline.errors import MissingPackageError, PipelineError, SharedStoreError
from agar_pipeline.files.storage_errors import FULL
from agar_pipeline.text.secrets import mask

PATIENCE_S = 30
"""A store that could not be reached is not asked again for as long: each try may take a minute."""
T = TypeVar("T")


class RemoteFiles:
    """The files below one address, for several threads. Methods raise SharedStoreError where it cannot be used."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.trouble: str | None = None
        """Why it could not be used; until a call succeeds that began after that."""
        self._failed_at = 0.0

    def __str__(self) -> str:
        """Without the password that an address may hold."""
        return mask(self.url)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""

        def read(fs: Any, path: str) -> bytes | None:
            with contextlib.suppress(FileNotFoundError):
                return bytes(fs.cat_file(path))
            return None

        return self._ask(name, read)

    def size_bytes(self, name: str) -> int | None:
        """Of a file; None where there is none."""

        def size(fs: Any, path: str) -> int | None:
            with contextlib.suppress(FileNotFoundError):
                return int(fs.info(path)["size"])
            return None

        return self._ask(name, size)

    def download(self, name: str, target: Path) -> bool:
        """Whether there is such a file; it is at `target` then."""

        def get(fs: Any, path: str) -> bool:
            with contextlib.suppress(FileNotFoundError):
                fs.get_file(path, str(target))
                return True
            return False

        return self._ask(name, get)

    def upload(self, source: Path, name: str) -> None:
        """Put a file there, in place of the one that may be there."""
        self._ask(name, lambda fs, path: _place(fs, path, lambda part: fs.put_file(str(source), part)))

    def write(self, name: str, text: bytes) -> None:
        """Put a few bytes there, in place of those that may be there."""
        self._ask(name, lambda fs, path: _place(fs, path, lambda part: fs.pipe_file(part, text)))

    def create(self, name: str, text: bytes) -> bool:
        """Whether a few bytes were put there, since nothing was; one step where the file system can."""
        return self._ask(name, lambda fs, path: _create(fs, path, text))

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system, and the path in it."""
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        fs, root = url_to_fs(self.url, use_listings_cache=False)
        if isinstance(fs, LocalFileSystem) and not fs.isdir(root):  # a disk that is not mounted must not be filled
            raise NotADirectoryError(errno.ENOTDIR, "there is no such folder: make it, or mount it", root)
        return fs, root.rstrip("/")

    def _ask(self, name: str, call: Callable[[Any, str], T]) -> T:
        """What the file system says; a SharedStoreError has no OSError behind it: the home has no trouble."""
        began_at = time.monotonic()
        if (trouble := self.trouble) is not None and began_at < self._failed_at + PATIENCE_S:
            raise SharedStoreError(trouble)
        told: PipelineError
        try:
            fs, root = self._place
            found = call(fs, f"{root}/{name}")
            if began_at > self._failed_at:  # another thread's failure meanwhile is not forgotten
                self.trouble = None
            return found
        except Exception as error:  # each file system has errors of its own
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            if isinstance(error, ImportError) and self.url.startswith("s3"):
                told = MissingPackageError.of(ModuleNotFoundError(name="s3fs"))
            else:
                told = _unusable(self, error)
                self._failed_at, self.trouble = time.monotonic(), str(told)
        raise told


def _unusable(files: RemoteFiles, error: Exception) -> SharedStoreError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SharedStoreError(
        f"the shared store {files} cannot be used: {cause}\n"
        "check AGAR_STORE, the network and the credentials; without AGAR_STORE the home is used alone"
    )


def _place(fs: Any, path: str, write: Callable[[str], object]) -> None:
    """An object store shows an object when it is whole; elsewhere it is written beside, and renamed."""
    if fs.async_impl:
        write(path)
        return
    fs.makedirs(fs._parent(path), exist_ok=True)
    part = f"{path}.{uuid.uuid4().hex}.part"
    write(part)
    fs.mv(part, path)


def _create(fs: Any, path: str, text: bytes) -> bool:
    try:
        if not hasattr(fs, "link"):
            fs.pipe_file(path, text, mode="create")  # S3: If-None-Match
            return True
        part = f"{path}.{uuid.uuid4().hex}.part"
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(part, text)
        try:
            fs.link(part, path)
        finally:
            with contextlib.suppress(OSError):  # as a killed process leaves it: small, and read by nobody
                fs.rm_file(part)
        return True
    except OSError:  # the error for a file that is there is not the same everywhere
        if not fs.exists(path):
            raise
        return bool(fs.cat_file(path) == text)
