"""All checks of a training; refuses to train if one fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.preflight.check import Check
from agar_pipeline.progress import Log


def check_training(trainer: TrainerConfig, home: Path, log: Log) -> Iterator[Check]:
    """Check everything that a training depends on, quick checks first; each result is yielded when it is known."""
    from agar_pipeline.preflight import devices, machine  # not at the top: `devices` is also run as a program (`-m`)

    yield from machine.check_storage(home)
    yield machine.check_open_files()
    yield machine.check_map_backend()
    yield from machine.check_packages()
    yield from devices.check_ranks(trainer, home, log)


def require_ready(trainer: TrainerConfig, home: Path, log: Log) -> None:
    """Check this machine before a training with several ranks.

    Raises:
        ComputeError: a check failed; the message is that of the first one.
    """
    for check in check_training(trainer, home, log):
        if check.level == "FAIL":
            raise ComputeError(f"fails: {check.found}", where=f"the launch-check of {check.name}", next_step=check.fix)
        if check.level == "WARN":
            log(f"launch-check: {check.name}: {check.found}; {check.fix}")
