"""`agar demo`: generates plates, imports them, and runs the whole chain."""

from __future__ import annotations

import os
from pathlib import Path

import click

from agar_pipeline.commands.terminal import as_typed, echo
from agar_pipeline.errors import MissingPackageError
from agar_pipeline.text.plurals import plural

PLATES, SIZE_PX, SEED = 120, 320, 0


@click.command("demo", epilog="Example: agar demo")
def command() -> None:
    """Generate plates, import them into the embedded FiftyOne, run the whole chain for the experiment `demo`, and print
    the metrics and the pages to look at.
    """
    MissingPackageError.require("fiftyone", "pymongo", "dagster")
    os.environ["AGAR_PIPELINE"] = "demo"
    from agar_pipeline.artifacts import BboxReport, Evaluation
    from agar_pipeline.commands.run import run_stale
    from agar_pipeline.config import agar_home
    from agar_pipeline.store import Key, Store

    prepare_dataset(agar_home())
    run_stale()
    store = Store(agar_home())
    evaluation: Evaluation = store.open_latest(Key("evaluation", "demo"))
    report: BboxReport = store.open_latest(Key("bbox_report"))
    metrics = evaluation.metrics()
    for name in ("map", "map_50", "map_75", "mar_max"):
        echo(f"{name:<8} {metrics[name]:.3f}" if metrics[name] is not None else f"{name:<8} null")
    mae = metrics["counting"]["mae"]
    off_by = "null" if mae is None else f"{mae:.2f}"
    echo(f"count MAE {off_by} on {plural(metrics['num_images'], 'plate')} of the part val")
    for line in (metrics["warning"] or "").splitlines():
        echo(line)
    echo(f"look at   {evaluation.root / 'report.html'}")
    echo(f"          {report.root / 'report.html'}")
    echo(f"next: {as_typed('agar')} ui, and open the address that it prints")


def prepare_dataset(home: Path) -> None:
    """Generate the plates and import them, unless the dataset is unchanged since the last import."""
    from agar_pipeline.commands.import_words import say_what_was_kept
    from agar_pipeline.commands.terminal import progress_bar, say
    from agar_pipeline.config import load_pipeline
    from agar_pipeline.errors import DatasetError, PipelineError
    from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
    from agar_pipeline.fiftyone_io.importing.import_images import import_images
    from agar_pipeline.fiftyone_io.reading.observe import observe_dataset
    from agar_pipeline.ownership.home import open_home
    from agar_pipeline.plates.generate import generate_plates

    open_home(home)
    folder, receipt = home / "demo" / "plates", home / "demo" / "imported"
    written = generate_plates(folder, PLATES, size_px=SIZE_PX, seed=SEED)
    config = load_pipeline("demo").fiftyone_snapshot
    if not written and receipt.exists():
        try:
            if observe_dataset(config, home).version == receipt.read_text():
                return
        except PipelineError:
            pass  # the import below fails in the same way, and reports it
    say(f"{plural(written, 'plate')} generated in {folder}")
    with progress_bar("importing") as progress:
        source = ImportSource("agar", str(folder))
        counts = import_images(source, config.dataset, config.database, home, say, progress)
    if counts.problems:
        raise DatasetError(
            f"holds {plural(len(counts.problems), 'broken plate')}: {counts.problems[0]}",
            where=folder,
            next_step="remove this folder, then run `agar demo` again",
        )
    say(f"{counts.added} added, {counts.updated} updated, {counts.unchanged} unchanged")
    say_what_was_kept(counts)
    receipt.write_text(observe_dataset(config, home).version)
