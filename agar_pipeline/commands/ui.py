"""`agar ui`: serves Dagster's pages of this home."""

from __future__ import annotations

import click

from agar_pipeline.commands.web_options import hosts_option, port_option


@click.command("ui", epilog="Example: agar ui")
@port_option(3000)
@click.option("--read-only", is_flag=True, help="Show only: nothing can be launched, ended or changed.")
@hosts_option
def command(port: int | None, read_only: bool, hosts: tuple[str, ...]) -> None:
    """Serve Dagster's pages of this home, to its owner only.

    They are the same pages, sensor and queue as those of `dagster dev`, but every request is checked: the printed
    address contains a token. Requests of other sites and of other users of this machine are refused.
    """
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.defs.webserver import serve_ui

    serve_ui(port, read_only, hosts, say)
