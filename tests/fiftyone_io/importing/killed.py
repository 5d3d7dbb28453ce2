"""A piece of work in a process that kills itself at its n-th write, of a file or into the database."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymongo import monitoring

FILE_EVENTS = {"os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.truncate"}
DATABASE_WRITES = {"insert", "update", "delete", "findAndModify"}
LONGEST_S = 30


class _Countdown(monitoring.CommandListener):
    def __init__(self, places: tuple[Path, ...], writes: int) -> None:
        self.places, self.left = tuple(map(str, places)), writes

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, event: str, given: tuple[Any, ...]) -> None:
        """An audit hook."""
        writes = event in FILE_EVENTS or (event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and str(given[0]).startswith(self.places):
            self.count()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in DATABASE_WRITES:
            self.count()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if event.command_name in DATABASE_WRITES:
            self.count()

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def run_and_kill(do: Callable[[], object], places: tuple[Path, ...], number: int) -> None:
    """Run in a fork, killed after `number % 120` writes; it may end before, or badly."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        countdown = _Countdown(places, number % 120)
        monitoring.register(countdown)
        sys.addaudithook(countdown.hear)
        try:
            do()
        finally:
            os._exit(0)
    deadline = time.monotonic() + LONGEST_S
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("a process that was to be killed neither wrote nor ended")
        time.sleep(0.005)
