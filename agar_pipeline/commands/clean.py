"""`agar clean`: drops old artifacts that nothing current was made from."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.terminal import echo
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    from agar_pipeline.store.clean import Droppable, Dropped


@click.command("clean", epilog="Example: agar clean --yes")
@click.option("--yes", is_flag=True, help="Drop without asking.")
@click.option(
    "--keep", multiple=True, metavar="RUN", help="Keep this run from now on: first letters of its fingerprint."
)
@click.option("--release", multiple=True, metavar="RUN", help="Do not keep this run any longer.")
@click.option("--snapshots", is_flag=True, help="Drop old snapshots, too; `agar restore` cannot restore them any more.")
@click.option(
    "--drop",
    "named",
    multiple=True,
    metavar="NAME",
    help="Drop this one, too: first letters of its fingerprint, or of its name in quarantine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; drops only with --yes.")
def command(
    yes: bool,
    keep: tuple[str, ...],
    release: tuple[str, ...],
    snapshots: bool,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """Drop the artifacts that nothing current was made from, the quarantine, and the cached columns of other COCO
    files; the command first shows what it would drop.

    It keeps what each `latest` points to, the runs of --keep, what those were made from, what a running process uses,
    and the newest unfinished training of each experiment. It keeps all snapshots, and undamaged checkpoints in
    quarantine, unless they are named. It never drops a folder that holds a file of somebody else.
    """
    from agar_pipeline.config import agar_home
    from agar_pipeline.files.disk import show_bytes
    from agar_pipeline.files.storage_errors import clear_storage_errors
    from agar_pipeline.store import Store, verify
    from agar_pipeline.store.clean import Dropped, drop, find_droppable
    from agar_pipeline.store.quarantine import find_guarded

    store = Store(agar_home())
    for word in keep:
        echo(f"kept from now on: {verify.keep(store, word)}", err=as_json)
    for word in release:
        echo(f"no longer kept: {', '.join(map(str, verify.release(store, word))) or 'none was kept'}", err=as_json)
    found = find_droppable(store, snapshots=snapshots, named=named)
    guarded = {path: why for path, why in find_guarded(store.home).items() if path not in {item.path for item in found}}
    freed = sum(item.size_bytes for item in found)
    if not as_json:
        for item in found:
            echo(f"{item.key or item.path.parent.name!s:<24} {show_bytes(item.size_bytes):>10}  {item.path}")
        for path, why in guarded.items():
            echo(f"kept: {path}: {why}")
        echo(f"to drop: {_in_words(found)}, {show_bytes(freed)}" if found else "nothing to drop; next: agar plan")
    if not yes and not (found and not as_json and sys.stdin.isatty() and click.confirm("Drop them?")):
        if as_json:
            echo(json.dumps(to_plain(found, Dropped([], [], {}), guarded), indent=1))
        elif found:
            echo("nothing was dropped; next: agar clean --yes")
        return
    with clear_storage_errors(store.home):
        done = drop(store, found)
    if as_json:
        echo(json.dumps(to_plain(found, done, guarded), indent=1))
        return
    if not found:
        return
    for item in done.in_use:
        echo(f"kept, in use by a running process: {item.path}")
    for path, why in done.guarded.items():
        echo(f"kept: {path}: {why}")
    freed = sum(item.size_bytes for item in done.gone)
    echo(f"dropped: {_in_words(done.gone)}, {show_bytes(freed)} freed" if done.gone else "nothing was dropped")
    echo("next: agar verify")


def _in_words(items: Sequence[Droppable]) -> str:
    """Return how many there are of each kind: `2 old artifacts, 1 unfinished training`."""
    return ", ".join(plural(number, *kind) for kind, number in Counter(item.kind for item in items).items())


def to_plain(found: Sequence[Droppable], done: Dropped, guarded: Mapping[Path, str]) -> dict[str, Any]:
    """Return JSON-ready what was found, what was dropped, what is in use, and what was kept and why."""
    gone, used = ({item.path for item in items} for items in (done.gone, done.in_use))
    return {
        "found": [
            {
                "asset": str(item.key) if item.key else None,
                "path": str(item.path),
                "size_bytes": item.size_bytes,
                "dropped": item.path in gone,
                "in_use": item.path in used,
            }
            for item in found
        ],
        "size_bytes": sum(item.size_bytes for item in found),
        "dropped_bytes": sum(item.size_bytes for item in done.gone),
        "kept": {str(path): why for path, why in {**guarded, **done.guarded}.items()},
    }
