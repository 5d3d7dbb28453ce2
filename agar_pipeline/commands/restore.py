"""`agar restore`: writes a snapshot to FiftyOne as a new dataset."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from agar_pipeline.commands.database_options import migrate_option
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.plurals import plural


@click.command("restore", epilog="Example: agar restore previous --dataset plates_before")
@click.argument("snapshot")
@click.option("--dataset", required=True, help="Name of the new FiftyOne dataset; it must not hold samples yet.")
@click.option("--database", help="embedded, fiftyone, mongodb://… or env:NAME; default: as the pipeline file says.")
@click.option("--label-field", help="Field that gets the boxes; default: as the pipeline file says.")
@migrate_option
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def command(
    snapshot: str,
    dataset: str,
    database: str | None,
    label_field: str | None,
    migrate_database: bool,
    as_json: bool,
) -> None:
    """Restore a snapshot into FiftyOne as a new dataset; a snapshot of that dataset is identical.

    SNAPSHOT is latest, previous, a fingerprint (or its first letters), or a folder.
    """
    from agar_pipeline.commands.database_options import require_no_password
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.history.lineage import find_snapshot
    from agar_pipeline.store import Store

    require_no_password(database)
    config = load_pipeline().fiftyone_snapshot
    from agar_pipeline.fiftyone_io.writing.restore import restore_snapshot

    database, label_field = database or config.database, label_field or config.label_field
    found = find_snapshot(Store(agar_home()), snapshot)
    home = agar_home()
    counts = restore_snapshot(found.root, dataset, label_field, database, home, say, migrate=migrate_database)
    if counts.photos_missing:
        where = found.dataset()["images_dir"]
        missing = plural(counts.photos_missing, "photo was", "photos were")
        say(f"note: {missing} not found in {where}: put the missing photos back")
    if counts.photos_replaced:
        replaced = plural(counts.photos_replaced, "photo was", "photos were")
        say(f"note: {replaced} replaced since then, so a snapshot of {dataset} will differ")
    if as_json:
        plain = {"dataset": dataset, "snapshot": found.manifest.fingerprint, **asdict(counts)}
        echo(json.dumps(plain, indent=1))
        return
    images, boxes = plural(counts.images, "image"), plural(counts.boxes, "box", "boxes")
    echo(f"{dataset}: {images} and {boxes} of snapshot {found.manifest.fingerprint}, boxes in {counts.label_field}")
    named = json.dumps(dataset, ensure_ascii=False)
    echo(f"next: set snapshot.dataset to {named} in a file of configs/pipeline, then agar plan")
