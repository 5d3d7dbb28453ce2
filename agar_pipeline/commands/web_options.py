"""Options of the commands that serve a web page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def port_option(usual: int) -> Callable[[Any], Any]:
    """Define `--port`; its default is the usual port if that is free, else any free one."""
    text = f"Port of 127.0.0.1.  [default: {usual}, else any free one]"
    return click.option("--port", type=click.IntRange(1, 65535), help=text)


hosts_option = click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME:PORT",
    help="Also answer requests to this name, that of a proxy or tunnel; repeatable.",
)
