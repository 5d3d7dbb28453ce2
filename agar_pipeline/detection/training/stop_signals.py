"""Asked to stop: SIGTERM, Ctrl-C or a file end training after the step that runs, with a point to go on from."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from agar_pipeline.config import stop_file

PATIENCE_S = 20
"""After so many seconds the process ends whatever it does: another rank may be dead, and never answer."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether this process was asked to stop, for as long as it listens."""

    def __init__(self) -> None:
        self._signalled, self._file = False, stop_file()
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        return self._signalled or (self._file is not None and self._file.exists())

    def listen(self) -> None:
        """Take over from Lightning, whose own handler talks to the other ranks from within a signal."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        signal.alarm(PATIENCE_S)  # nobody handles it: the kernel ends the process, even within a library

    def close(self) -> None:
        """Listen no more."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.alarm(0)
        self._before = {}
