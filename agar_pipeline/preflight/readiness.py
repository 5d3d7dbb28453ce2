"""The whole list of checks, and the refusal to train where one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.preflight.check import Check


def check_training(trainer: TrainerConfig, home: Path, log: Callable[[str], None]) -> Iterator[Check]:
    """All that a training depends on, quick things first; each is yielded as it is known."""
    from agar_pipeline.preflight import machine, ranks  # not on top: `ranks` is also a program of its own

    yield from machine.check_storage(home)
    yield machine.check_open_files()
    yield machine.check_map_backend()
    yield from machine.check_packages()
    yield from ranks.check_ranks(trainer, home, log)


def require_ready(trainer: TrainerConfig, home: Path, log: Callable[[str], None]) -> None:
    """Before a training of many ranks.

    Raises:
        ComputeError: something would make it fail; in the words of the first such check.
    """
    for check in check_training(trainer, home, log):
        if check.level == "FAIL":
            raise ComputeError(f"launch-check: {check.name}: {check.found}\n{check.fix}")
        if check.level == "WARN":
            log(f"launch-check: {check.name}: {check.found}; {check.fix}")
