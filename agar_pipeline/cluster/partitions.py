"""Applies one function to many photos and yields the results in order, in threads or on a Ray cluster.

By default the work is done in threads of this machine (decoding, hashing and writing release the GIL). Within
`launched_by("ray")` it is done in partitions on a Ray cluster, with the same results. Therefore the functions can be
imported by name, and they take and return plain values.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Protocol, TypeVar

from agar_pipeline.config import Launcher
from agar_pipeline.processes.devices import count_cores
from agar_pipeline.progress import Log

Item = TypeVar("Item")
Result = TypeVar("Result")


AHEAD = 256
"""Maximum number of items submitted before the first result is requested, so that memory is bounded."""


class Pool(Protocol):
    """An object with a `map`: threads or a Ray cluster."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Yield the results in the order of the items, as they become ready."""


class _Threads:
    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    def map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        sent: deque[Future[Result]] = deque()
        for item in items:
            sent.append(self._executor.submit(function, item))
            if len(sent) > AHEAD:
                yield sent.popleft().result()
        while sent:
            yield sent.popleft().result()


_launched: ContextVar[Pool | None] = ContextVar("launched", default=None)


@contextlib.contextmanager
def launched_by(launcher: Launcher, log: Log) -> Iterator[None]:
    """Set where pools run that are opened with `open_pool` during the block.

    A cluster is joined once, and only if there is work for it.
    """
    if launcher != "ray":
        yield
        return
    from agar_pipeline.cluster.tasks import RayTasks

    with RayTasks(log) as tasks:
        token = _launched.set(tasks)
        try:
            yield
        finally:
            _launched.reset(token)


@contextlib.contextmanager
def open_pool(threads: int | None = None) -> Iterator[Pool]:
    """Yield a pool for the block.

    Args:
        threads: Number of threads on this machine; None: one per core.
    """
    if (shared := _launched.get()) is not None:
        yield shared
        return
    executor = ThreadPoolExecutor(threads or count_cores())
    try:
        yield _Threads(executor)
    finally:
        executor.shutdown(cancel_futures=True)
