"""Options of the commands that write into a FiftyOne database."""

from __future__ import annotations

import click

migrate_option = click.option(
    "--migrate-database",
    is_flag=True,
    help="Let FiftyOne migrate the database and the dataset to its own version; never done otherwise.",
)
