"""Shows which Dagster runs are alive: each holds a lock in the home until its process ends, for whatever reason."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from agar_pipeline.config import agar_home

ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def _folder() -> Path:
    return agar_home() / "dagster" / "runs"


@contextlib.contextmanager
def held_run(run_id: str) -> Iterator[None]:
    _folder().mkdir(parents=True, exist_ok=True)
    path = _folder() / f"{run_id}.lock"
    with FileLock(path):
        path.write_text(f"process {os.getpid()}\n")
        yield
        path.unlink()  # an interrupted run keeps its file, and `fail_dead_runs` marks it as failed


_kept: dict[str, FileLock] = {}


def keep_run(run_id: str) -> None:
    """Hold the lock of a run until this process ends; for runs that Dagster's own commands started."""
    if run_id in _kept:
        return
    _folder().mkdir(parents=True, exist_ok=True)
    _kept[run_id] = FileLock(_folder() / f"{run_id}.lock")
    with contextlib.suppress(Timeout):  # `agar run` holds it already
        _kept[run_id].acquire(timeout=0)
        (_folder() / f"{run_id}.lock").write_text(f"process {os.getpid()}\n")


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process has ended; Dagster itself would show them as started forever.

    Returns:
        Their ids.
    """
    failed = []
    for path in sorted(_folder().glob("*.lock")):
        with contextlib.suppress(Timeout), FileLock(path).acquire(timeout=0):  # a held lock: the run is alive
            run = instance.get_run_by_id(path.stem)
            if run is not None and run.status not in ENDED:
                instance.report_run_failed(run, f"its process is gone ({path.read_text().strip()}): killed, or crashed")
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
                failed.append(run.run_id)
            path.unlink(missing_ok=True)
    return failed
