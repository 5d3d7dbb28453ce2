"""One function over many photos, the results in the order of the photos: where that is done is decided here.

In threads of this machine (decoding, hashing and writing let go of the GIL), or within `launched_by("ray")` in
partitions on a Ray cluster, with the same results. Functions are therefore known by name, and take and return values.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Protocol, TypeVar

from agar_pipeline.config import Launcher
from agar_pipeline.processes.machine import count_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


AHEAD = 256
"""Items that are worked on or done before the first of them is asked for: memory is bounded."""


class Pool(Protocol):
    """What maps."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Results in the order of the items, as they are ready and asked for."""


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
def launched_by(launcher: Launcher, log: Callable[[str], None]) -> Iterator[None]:
    """What `open_pool` opens within the block; a cluster is joined once, and only if there is something to do."""
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
    """Somebody to map for the length of the block.

    Args:
        threads: On this machine; None: one per core.
    """
    if (shared := _launched.get()) is not None:
        yield shared
        return
    executor = ThreadPoolExecutor(threads or count_cores())
    try:
        yield _Threads(executor)
    finally:
        executor.shutdown(cancel_futures=True)
