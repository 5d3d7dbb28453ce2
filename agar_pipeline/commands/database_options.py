"""Options of the commands that write to a FiftyOne database."""

from __future__ import annotations

import click

migrate_option = click.option(
    "--migrate-database",
    is_flag=True,
    help="Let FiftyOne migrate the database and the dataset to its own version; this never happens without the option.",
)


def require_no_password(database: str | None, pipeline_file: str | None = None) -> None:
    """Refuse or report a password in the value of `--database`.

    `ps` shows the arguments of a command to every user of the machine, and a pipeline file is usually in git.

    Raises:
        ConfigError: the password would be written into a pipeline file.
    """
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.errors import ConfigError
    from agar_pipeline.text.secrets import has_secret

    if database is None or not has_secret(database):
        return
    if pipeline_file:
        raise ConfigError(
            f"holds a password, which --pipeline would write into configs/pipeline/{pipeline_file}.yaml",
            where="--database",
            next_step="export AGAR_DATABASE_URI with the address, and give --database env:AGAR_DATABASE_URI",
        )
    say(
        "note: --database holds a password, which `ps` shows to all users of this machine: "
        "give --database env:AGAR_DATABASE_URI"
    )
