"""Applies one function to many items on a Ray cluster, in partitions; results are in the order of the items."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from agar_pipeline.cluster.connection import cluster_address, joined
from agar_pipeline.errors import ComputeError
from agar_pipeline.processes.child import CHILD_ENV
from agar_pipeline.processes.environment import worker_environment
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

Item = TypeVar("Item")
Result = TypeVar("Result")

PARTITION = 32
"""Items per task: half a second of work on photos, while the task itself costs milliseconds."""
WAITING_PER_CPU = 2
"""Tasks sent ahead per CPU; this limits the number of results that are held."""


class RayTasks:
    """A pool on a Ray cluster. Use it in a `with` block; the cluster is joined at the first work."""

    def __init__(self, log: Log) -> None:
        self._log, self._stack = log, contextlib.ExitStack()
        self._run: Any = None
        self._waiting = 0

    def __enter__(self) -> RayTasks:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Apply the function as the `map` of an executor does.

        Args:
            function: One that every node can import by name, or a `functools.partial` of it. It may be called twice for
                an
                item if a worker dies.
            items: Picklable.

        Raises:
            ComputeError: workers die repeatedly.
            Exception: an error that the function raises.
        """
        left = iter(items)
        sent: deque[Any] = deque()
        while partition := list(islice(left, PARTITION)):
            if self._run is None:
                self._join()
            sent.append(self._run.remote(function, partition))
            if len(sent) > self._waiting:
                yield from _result(sent.popleft())
        while sent:
            yield from _result(sent.popleft())

    def _join(self) -> None:
        self._stack.enter_context(joined({**worker_environment(), **CHILD_ENV}, show_output=False))
        import ray

        self._run = ray.remote(run_partition)
        cpus = int(ray.cluster_resources().get("CPU", 1))
        self._waiting = WAITING_PER_CPU * max(1, cpus)
        where = cluster_address() or "of this machine"
        self._log(f"photos are processed on the Ray cluster {where}, with {plural(cpus, 'CPU')}")


def run_partition(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    """Apply the function to the items of one task."""
    return [function(item) for item in items]


def _result(sent: Any) -> list[Any]:
    import ray

    try:
        results: list[Any] = ray.get(sent)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        first_line = str(error).strip().splitlines()[0]
        raise ComputeError(
            f"a task on the Ray cluster failed repeatedly, most often for lack of memory: {first_line}",
            next_step="run `ray status`, and read the logs of the nodes",
        ) from error
    return results
