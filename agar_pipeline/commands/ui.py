"""`agar ui`"""

from __future__ import annotations

import click


@click.command("ui", epilog="Example: agar ui")
@click.option("--port", type=click.IntRange(1, 65535), help="Of 127.0.0.1.  [default: 3000, else any free one]")
@click.option("--read-only", is_flag=True, help="Look only: nothing can be launched, ended or changed.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME:PORT",
    help="Answer to this name, too, of a proxy or tunnel in front; as often as needed.",
)
def command(port: int | None, read_only: bool, hosts: tuple[str, ...]) -> None:
    """Dagster's pages of this home, for its owner only.

    The same pages, sensor and queue as `dagster dev`, behind a check of who asks: the printed address has a token in
    it. Pages of other sites and other users of this machine are refused.
    """
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.defs.webserver import serve_ui

    serve_ui(port, read_only, hosts, say)
