"""`agar env`: prints the exports that point plain dagster commands to the home."""

from __future__ import annotations

import shlex
import sys

import click

from agar_pipeline.commands.terminal import say


@click.command("env", epilog='Example: eval "$(agar env)" && dagster asset list -m agar_pipeline.definitions')
def command() -> None:
    """Print the exports that point plain dagster commands to the home and the pipeline."""
    from agar_pipeline.config import agar_home, pipeline_name
    from agar_pipeline.defs.instance import dagster_home
    from agar_pipeline.ownership.home_place import place_words

    values = {"AGAR_HOME": agar_home(), "AGAR_PIPELINE": pipeline_name(), "DAGSTER_HOME": dagster_home()}
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(str(value))}")
    if words := place_words(agar_home()):
        say(f"warning: {words}")
    if sys.stdout.isatty():  # a person reads the output, not a shell
        click.echo('next: eval "$(agar env)" && dagster asset list -m agar_pipeline.definitions', err=True)
