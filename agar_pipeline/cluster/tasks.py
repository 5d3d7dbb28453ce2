"""One function over many items on a Ray cluster, a partition of them at a time; results in the order of the items."""

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

Item = TypeVar("Item")
Result = TypeVar("Result")

PARTITION = 32
"""Items of one task: half a second of photos, against milliseconds for the task itself."""
WAITING_PER_CPU = 2
"""Tasks that are sent ahead: so many results are held at most."""


class RayTasks:
    """To be used in a `with` block, which joins the cluster when something is first to be done there."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._stack = log, contextlib.ExitStack()
        self._run: Any = None
        self._waiting = 0

    def __enter__(self) -> RayTasks:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """As the map of an executor.

        Args:
            function: Known by its name on every node, or a `functools.partial` of such a one; may be called twice for
                an item, where a worker died.
            items: Picklable.

        Raises:
            ComputeError: workers die again and again.
            Exception: what the function raises.
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
        self._log(
            f"work on many photos is done by the Ray cluster {cluster_address() or 'of this machine'}, {cpus} CPUs"
        )


def run_partition(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    """One task."""
    return [function(item) for item in items]


def _result(sent: Any) -> list[Any]:
    import ray

    try:
        results: list[Any] = ray.get(sent)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        first_line = str(error).strip().splitlines()[0]
        raise ComputeError(f"a task on the Ray cluster failed again and again: {first_line}") from error
    return results
