"""`agar inspect-coco`: prints counts, classes and broken rules of any COCO file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.inspection_words import (
    parse_policy,
    print_inspection,
    print_next_step,
    print_places,
    write_inspection,
)
from agar_pipeline.commands.number_options import FiniteRange

if TYPE_CHECKING:
    from agar_pipeline.labels.inspection import Inspection

SAMPLE = 200
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("inspect-coco", epilog="Example: agar inspect-coco --json train.json --images-dir photos --check-all")
@click.option("--json", "json_path", required=True, type=FILE, help="The COCO annotation file.")
@click.option("--images-dir", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check-all", is_flag=True, help=f"Open every image file, not only a sample of {SAMPLE}.")
@click.option("--sample", default=SAMPLE, type=click.IntRange(min=1), show_default=True, help="Image files to open.")
@click.option("--seed", default=0, type=click.IntRange(min=0), show_default=True, help="Seed of the sample.")
@click.option("--images", "depth", type=click.Choice(["header", "decode", "skip"]), default="decode", show_default=True)
@click.option("--policy", multiple=True, metavar="RULE=ACTION", help="fail or keep, as in small_box=fail; repeatable.")
@click.option("--min-box-side", default=2.0, type=FiniteRange(min=0), show_default=True, help="Pixels.")
@click.option(
    "--max-flawed-share",
    default=0.05,
    type=FiniteRange(0, 1),
    show_default=True,
    help="If more boxes than this break one rule, their part counts as misread.",
)
@click.option("--report", type=FILE, help="Write the report as JSON.")
@click.option("--html", type=FILE, help="Write the page with the pictures.")
def command(
    json_path: Path, images_dir: Path, report: Path | None, html: Path | None, policy: tuple[str, ...], **options: Any
) -> None:
    """Show counts, classes and every broken rule of any COCO file. Exit 1: a rule with the policy `fail` is broken.

    Checks every box, image and category, and whether each image file exists; the options say which files it opens.

    Needs neither Dagster nor FiftyOne nor a database.
    """
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.ownership.single_files import replacing_files

    with replacing_files([report, html], "inspect-coco", Originals([json_path])) as places:
        inspection = _inspect(json_path, images_dir, policy, options)
        print_inspection(inspection)
        write_inspection(inspection, places.get(report), places.get(html), images_dir, json_path.stem)
    print_places(report, html)
    print_next_step(inspection, html)
    if not inspection.report["ok"]:
        raise click.exceptions.Exit(1)


def _inspect(json_path: Path, images_dir: Path, policy: tuple[str, ...], options: dict[str, Any]) -> Inspection:
    from agar_pipeline.commands.terminal import progress_bar
    from agar_pipeline.labels.inspection import inspect_coco

    with progress_bar("checking images") as progress:
        return inspect_coco(
            json_path,
            images_dir,
            sample=None if options["check_all"] else options["sample"],
            seed=options["seed"],
            depth=options["depth"],
            box_policy=parse_policy(policy),
            min_box_side_px=options["min_box_side"],
            max_flawed_share=options["max_flawed_share"],
            progress=progress,
        )
