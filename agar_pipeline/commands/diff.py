"""`agar diff`: compares two snapshots."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agar_pipeline.commands.terminal import echo


@click.command("diff", epilog="Example: agar diff previous latest")
@click.argument("snapshot_a")
@click.argument("snapshot_b")
@click.option("--json", "as_json", is_flag=True, help="Print every change as JSON; a page only with --html.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page.")
def command(snapshot_a: str, snapshot_b: str, as_json: bool, html: Path | None) -> None:
    """Show what differs between two snapshots: images and boxes that were added, removed, moved or relabelled.

    A snapshot is latest, previous, a fingerprint (or its first letters), or a folder.
    """
    from agar_pipeline.commands.diff_words import change_lines, next_step, snapshot_side
    from agar_pipeline.config import agar_home
    from agar_pipeline.history.lineage import find_snapshot
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.ownership.single_files import replacing_files
    from agar_pipeline.reports.diff_page import write_diff_page
    from agar_pipeline.snapshots.diff import diff_tables, summarize
    from agar_pipeline.store import Store

    store = Store(agar_home())
    old, new = find_snapshot(store, snapshot_a), find_snapshot(store, snapshot_b)
    before, after = snapshot_side(old), snapshot_side(new)
    diff = diff_tables(before.tables, after.tables)
    if html is not None:
        with replacing_files([html], "diff", Originals()) as places:
            write_diff_page(places[html], diff, before, after)
    elif not as_json and not diff.is_empty:
        name = f"diff-{old.manifest.fingerprint[:12]}-{new.manifest.fingerprint[:12]}.html"
        html = agar_home() / "reports" / name
        write_diff_page(html, diff, before, after)
    if as_json:
        fingerprints = {"before": old.manifest.fingerprint, "after": new.manifest.fingerprint}
        echo(json.dumps({**fingerprints, "summary": summarize(diff), **diff.to_plain()}, indent=1))
        return
    echo(f"{before.name} → {after.name}")
    echo("\n".join(change_lines(diff)))
    if html is not None:
        echo(f"page: {html.absolute()}")
    echo(f"next: {next_step(diff, old)}")
