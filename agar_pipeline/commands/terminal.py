"""What commands show while they work: on stderr, so that stdout stays for answers."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from agar_pipeline.progress import progress_bar
from agar_pipeline.text.safe_text import printable

__all__ = ["as_typed", "echo", "progress_bar", "say"]


def echo(text: str, *, lead: str = "", nl: bool = True, err: bool = False) -> None:
    """An answer, on stdout; whatever names are in it, the terminal obeys none of them. `lead` may have colours."""
    click.echo(lead + printable(text), nl=nl, err=err)


def say(text: str) -> None:
    """One line on stderr."""
    echo(text, err=True)


def as_typed(command: str) -> str:
    """A command of this environment as it can be typed here: its name where a shell finds it, else its path."""
    own = Path(sys.executable).parent / command
    return command if shutil.which(command) == str(own) else os.path.relpath(own)
