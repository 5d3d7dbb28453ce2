"""`agar backup`: saves the home into one file, or restores it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.config.places import expanded
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command


@click.command("backup", epilog="Example: agar backup ../labels.agar")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--restore", "restoring", is_flag=True, help="Restore FILE into the home, which must not hold other data."
)
@click.option("--everything", is_flag=True, help="Save COCO caches and trainings, too: photos and checkpoints.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, restoring: bool, everything: bool, as_json: bool) -> None:
    """Save the home into one new FILE: the labels (its database), all snapshots, splits, reports and evaluations, the
    manifests of the other artifacts, and the configs without passwords. FILE is read again before it gets its name.

    It holds neither photos nor a database that is not the home's own.
    """
    from agar_pipeline.config import agar_home
    from agar_pipeline.errors import StorageError
    from agar_pipeline.store import Store
    from agar_pipeline.use_cases.backup import back_up, restore

    if restoring and everything:
        raise click.UsageError("leave out --everything: --restore always restores all that FILE holds")
    path, store = expanded(file).absolute(), Store(agar_home())
    if restoring and not path.is_file():
        raise StorageError(
            "is not a file, so there is no backup to restore",
            where=path,
            next_step="give the file that `agar backup FILE` wrote",
        )
    log = (lambda text: None) if as_json else say
    done = restore(path, store, log) if restoring else back_up(path, store, log, everything=everything)
    if as_json:
        echo(json.dumps({"file": str(path), "restored": restoring, **asdict(done)}, indent=1))
        return
    for note in done.notes:
        echo(f"note: {note}")
    names = ", ".join(done.datasets) or "none"
    if restoring:
        missing = plural(done.artifacts, "artifact was", "artifacts were")
        echo(f"{path} was restored into {store.home}: datasets {names}; {missing} missing")
        echo("next: agar verify")
        return
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    artifacts = plural(done.artifacts, "artifact")
    echo(f"{path}: datasets {names}; {artifacts}; {size}, and reading it again found no difference")
    echo(f"next: copy it to another machine; {as_command('agar', 'backup', '--restore', file)} restores it")
