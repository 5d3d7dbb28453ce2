"""A folder as a file system of which chosen calls fail. It imports nothing of ours: processes load it as they start."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

from fsspec.implementations.local import LocalFileSystem

CALLS = ("cat_file", "info", "get_file", "put_file", "pipe_file", "makedirs", "mv", "link", "rm_file", "exists")


class FlakyFileSystem(LocalFileSystem):
    """A folder of which chosen calls fail with an I/O error; a class attribute holds which."""

    protocol = "flaky"
    cachable = False
    numbers = itertools.count(1)
    fails = staticmethod(lambda number: number % int(os.environ.get("FAILS_EVERY", "3")) == 0)
    lock = threading.Lock()


def _flaky(name: str) -> Callable[..., Any]:
    def call(self: FlakyFileSystem, *arguments: Any, **more: Any) -> Any:
        with FlakyFileSystem.lock:
            number = next(FlakyFileSystem.numbers)
        if FlakyFileSystem.fails(number):
            raise OSError(errno.EIO, f"call {number}, {name}, fails")
        return getattr(LocalFileSystem, name)(self, *arguments, **more)

    return call


for _name in CALLS:
    setattr(FlakyFileSystem, _name, _flaky(_name))
