"""Options of the commands that write into a FiftyOne database."""

from __future__ import annotations

import click

migrate_option = click.option(
    "--migrate-database",
    is_flag=True,
    help="Let FiftyOne migrate the database and the dataset to its own version; never done otherwise.",
)


def require_no_password(database: str | None, pipeline_file: str | None = None) -> None:
    """`ps` shows a command's words to every user of the machine, and git a pipeline file to every reader.

    Raises:
        ConfigError: the password of `--database` would go into a pipeline file.
    """
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.errors import ConfigError
    from agar_pipeline.text.secrets import has_secret

    if database is None or not has_secret(database):
        return
    if pipeline_file:
        raise ConfigError(
            f"--database holds a password, which --pipeline would write into configs/pipeline/{pipeline_file}.yaml\n"
            "export AGAR_DATABASE_URI with the address, and give --database env:AGAR_DATABASE_URI"
        )
    say("note: --database holds a password, which ps shows to all users here: give --database env:AGAR_DATABASE_URI")
