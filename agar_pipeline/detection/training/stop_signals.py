"""Requests to stop: after SIGTERM, Ctrl-C or a stop file, training ends after the current step with a resume point."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from agar_pipeline.config import stop_file

PATIENCE_S = 20
"""After this many seconds the process ends in any state, because another rank may be dead and never answer."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether this process was asked to stop while it listens."""

    def __init__(self) -> None:
        self._signalled, self._file = False, stop_file()
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        return self._signalled or (self._file is not None and self._file.exists())

    def listen(self) -> None:
        """Replace Lightning's signal handler, which communicates with the other ranks from inside the handler."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        signal.alarm(PATIENCE_S)  # SIGALRM has no handler: the kernel ends the process, even inside library code

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.alarm(0)
        self._before = {}
