"""`agar init`: makes a lab's own project around the installed package."""

from __future__ import annotations

from pathlib import Path

import click

from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command


@click.command("init", epilog="Example: agar init plates")
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Make a project of your own in FOLDER, which needs no checkout: configs, dagster.yaml, workspace.yaml, a README.

    In FOLDER and below it, all commands use its configs and a home of its own. Existing files are not changed; after an
    upgrade of the package, the same command adds the files that are new.
    """
    from agar_pipeline.use_cases.project import create_project

    done = create_project(folder)
    for name in done.kept:
        say(f"note: {folder / name} exists with other content, and was not changed")
    written = f"{plural(len(done.written), 'file')} written to {folder}, for you to edit"
    echo(written if done.written else "nothing to do")
    if folder.resolve() == Path.cwd():
        say("next: agar demo, or read README.md")
    else:
        say(f"next: {as_command('cd', folder)} && agar demo, or read README.md there")
