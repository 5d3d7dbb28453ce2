"""`agar diff`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agar_pipeline.artifacts import Snapshot
    from agar_pipeline.reports.diff_page import DiffSide
    from agar_pipeline.snapshot_diff import SnapshotDiff


@click.command("diff", epilog="Example: agar diff previous latest")
@click.argument("snapshot_a")
@click.argument("snapshot_b")
@click.option("--json", "as_json", is_flag=True, help="Print every change as JSON; a page only with --html.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page.")
def command(snapshot_a: str, snapshot_b: str, as_json: bool, html: Path | None) -> None:
    """What differs between two snapshots: images and boxes added, removed, moved, relabelled.

    A snapshot is latest, previous, a fingerprint (or its first letters), or a folder.
    """
    from agar_pipeline.config import agar_home
    from agar_pipeline.lineage import find_snapshot
    from agar_pipeline.reports.diff_page import write_diff_page
    from agar_pipeline.snapshot_diff import diff_tables, summarize
    from agar_pipeline.store import Store

    store = Store(agar_home())
    old, new = find_snapshot(store, snapshot_a), find_snapshot(store, snapshot_b)
    before, after = _side(old), _side(new)
    diff = diff_tables(before.tables, after.tables)
    if html is None and not as_json and not diff.is_empty:
        name = f"diff-{old.manifest.fingerprint[:12]}-{new.manifest.fingerprint[:12]}.html"
        html = agar_home() / "reports" / name
    if html is not None:
        write_diff_page(html, diff, before, after)
    if as_json:
        fingerprints = {"before": old.manifest.fingerprint, "after": new.manifest.fingerprint}
        click.echo(json.dumps({**fingerprints, "summary": summarize(diff), **diff.to_plain()}, indent=1))
        return
    click.echo(f"{before.name} → {after.name}")
    _print_changes(diff)
    if html is not None:
        click.echo(f"page: {html.absolute()}")
    click.echo(
        "next: agar plan" if diff.is_empty else f"next: agar restore {old.manifest.fingerprint[:12]} --dataset NAME"
    )


def _side(snapshot: Snapshot) -> DiffSide:
    from agar_pipeline.reports.diff_page import DiffSide
    from agar_pipeline.snapshot_diff import SnapshotTables

    dataset = snapshot.dataset()
    made = snapshot.manifest.created_at[:16].replace("T", " ")
    name = f"{dataset['dataset']}, snapshot {snapshot.manifest.fingerprint[:12]} of {made}"
    return DiffSide(name, SnapshotTables(snapshot.images(), snapshot.boxes()), Path(dataset["images_dir"]))


def _print_changes(diff: SnapshotDiff) -> None:
    """The reasons, then one line per changed image, as far as they fit a screen."""
    from collections import Counter

    from agar_pipeline.box_pairing import KINDS
    from agar_pipeline.snapshot_diff import summarize

    click.echo("\n".join(summarize(diff)) or "no difference: the same images and boxes")
    counts: dict[str, Counter[str]] = {}
    for change in diff.boxes:
        counts.setdefault(change.path, Counter())[change.kind] += 1
    if not counts:
        return
    shown = dict(list(counts.items())[:20])
    width = max(len("image"), *map(len, shown))
    click.echo(f"\n{'image':<{width}}" + "".join(f" {kind:>10}" for kind in KINDS))
    for path, kinds in shown.items():
        click.echo(f"{path:<{width}}" + "".join(f" {kinds[kind] or '':>10}" for kind in KINDS))
    if len(counts) > len(shown):
        click.echo(f"… and {len(counts) - len(shown)} more images")
