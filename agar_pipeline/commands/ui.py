"""`agar ui`: serves Dagster's pages of this home."""

from __future__ import annotations

import click

from agar_pipeline.commands.web_options import hosts_option, port_option


@click.command("ui", epilog="Example: agar ui")
@port_option(3000)
@click.option("--read-only", is_flag=True, help="Look only: nothing can be launched, ended or changed.")
@hosts_option
def command(port: int | None, read_only: bool, hosts: tuple[str, ...]) -> None:
    """Dagster's pages of this home, for its owner only.

    The same pages, sensor and queue as `dagster dev`, behind a check of who asks: the printed address has a token in
    it. Pages of other sites and other users of this machine are refused.
    """
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.defs.webserver import serve_ui

    serve_ui(port, read_only, hosts, say)
