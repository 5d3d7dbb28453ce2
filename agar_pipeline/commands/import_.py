"""`agar import`"""

from __future__ import annotations

from pathlib import Path

import click


@click.group("import", epilog="Example: agar import agar --images-dir photos --dataset plates")
def command() -> None:
    """Annotated images into a FiftyOne dataset. Twice is once: what is there already stays as it is."""


@command.command("agar", epilog="Example: agar import agar --images-dir photos --dataset plates")
@click.option(
    "--images-dir", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="N.jpg + N.json"
)
@click.option("--dataset", required=True, help="Name of the FiftyOne dataset; made where it is not there.")
@click.option("--database", help="embedded, fiftyone or mongodb://…; default: as the pipeline file says.")
def agar_(images_dir: Path, dataset: str, database: str | None) -> None:
    """AGAR's own format: N.json beside N.jpg."""
    from agar_pipeline.commands.terminal import progress_bar, say
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.fiftyone_io.import_agar import import_agar

    database = database or load_pipeline().snapshot.database
    with progress_bar("importing") as progress:
        counts = import_agar(images_dir.resolve(), dataset, database, agar_home(), say, progress)
    click.echo(
        f"{dataset}: {counts.added} added, {counts.updated} updated, {counts.unchanged} unchanged, "
        f"{counts.uncountable} uncountable and left out; {counts.boxes} boxes"
    )
    click.echo("next: agar plan")
