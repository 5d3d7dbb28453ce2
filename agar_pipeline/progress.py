"""Shows the progress of long work: a bar on a terminal, a line every ten seconds elsewhere, nothing if it is quick."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
"""Called with the number of items that are done, and the total number."""
Log = Callable[[str], None]
"""Receives a line for the user."""
LINE_EVERY_S = 10.0
BAR_AFTER_S = 0.5
"""Seconds before a bar is shown. Importing rich takes a tenth of a second, and quick work must not wait for that."""


@contextlib.contextmanager
def progress_bar(title: str, log: Log | None = None) -> Iterator[Progress]:
    """Show a bar on a terminal; elsewhere write a line every ten seconds to `log`, if there is one."""
    on_terminal, said_at = sys.stderr.isatty(), time.monotonic()
    with contextlib.ExitStack() as shown:
        update: Progress | None = None

        def progress(done: int, total: int) -> None:
            nonlocal said_at, update
            if on_terminal and update is None and time.monotonic() - said_at > BAR_AFTER_S:
                update = shown.enter_context(_bar(title))
            if update is not None:
                update(done, total)
            elif log is not None and not on_terminal and time.monotonic() - said_at > LINE_EVERY_S:
                said_at = time.monotonic()
                log(f"{title}: {done:,} of {total:,}")

        yield progress


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say_duration(seconds: float) -> str:
    """Format a duration.

    >>> say_duration(50), say_duration(550), say_duration(7500)
    ('50 s', '9 min 10 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
