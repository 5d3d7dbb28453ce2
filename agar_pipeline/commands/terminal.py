"""Prints answers to stdout, and progress and notes to stderr; data cannot inject escape sequences."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from agar_pipeline.progress import progress_bar as progress_bar
from agar_pipeline.text.safe_text import printable


def echo(text: str, *, lead: str = "", nl: bool = True, err: bool = False) -> None:
    """Print an answer to stdout. Control characters in `text` are made harmless; `lead` may have colours."""
    click.echo(lead + printable(text), nl=nl, err=err)


def say(text: str) -> None:
    echo(text, err=True)


def as_typed(command: str) -> str:
    """Return how to call a command of this environment: its name if the shell finds it, else its relative path."""
    own = Path(sys.executable).parent / command
    return command if shutil.which(command) == str(own) else os.path.relpath(own)
