"""What commands show while they work: on stderr, so that stdout stays for answers."""

from __future__ import annotations

import click

from agar_pipeline.progress import progress_bar

__all__ = ["progress_bar", "say"]


def say(text: str) -> None:
    """One line on stderr."""
    click.echo(text, err=True)
