"""What commands show while they work: on stderr, so that stdout stays for answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import click


def say(text: str) -> None:
    """One line on stderr."""
    click.echo(text, err=True)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere; called with (done, total)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
