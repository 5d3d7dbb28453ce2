"""One thing that was looked at, and the whole list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError

Level = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Check:
    """What was found, how bad it is, and what to do about it."""

    name: str
    level: Level
    found: str
    fix: str = ""


def check_training(trainer: TrainerConfig, home: Path, log: Callable[[str], None]) -> Iterator[Check]:
    """All that a training depends on, quick things first; each is yielded as it is known."""
    from agar_pipeline.preflight import machine, ranks

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
