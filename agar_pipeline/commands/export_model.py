"""`agar export-model`: converts a checkpoint to ONNX, and compares both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from agar_pipeline.commands.chosen_model import FILE, find_model, model_options
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.errors import MissingPackageError
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command


@click.command(
    "export-model", epilog="Example: agar export-model --checkpoint best.ckpt --images-dir photos --out M.onnx"
)
@model_options
@click.option("--out", required=True, type=FILE, help="The ONNX file to write.")
@click.option(
    "--images-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of photos on which both are compared.",
)
@click.option(
    "--photos", default=8, show_default=True, type=click.IntRange(1), help="How many of these photos, evenly spread."
)
@click.option("--json", "as_json", is_flag=True, help="Print classes and size as JSON.")
def command(out: Path, images_dir: Path | None, photos: int, as_json: bool, **options: Any) -> None:
    """Export a checkpoint as an ONNX file that onnxruntime can run alone; classes, size and threshold are in the file.

    Both models predict the same photos (noise without --images-dir). If a detection differs by more than 1e-3, in
    score or in box as a share of the picture, no file is written and the exit code is 1.

    For a colony whose species is in doubt, the file returns a box of each class: programs other than `agar predict`
    must count only the best of boxes that overlap by 0.7 or more.
    """
    if (options["experiment"] is None) == (options["checkpoint"] is None):
        raise click.UsageError("give either --experiment or --checkpoint")
    MissingPackageError.require("onnx", "onnxscript", "onnxruntime")
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.detection.inference.export_onnx import export_model
    from agar_pipeline.detection.inference.photo_folder import find_photos
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.ownership.single_files import replacing_files
    from agar_pipeline.photos.formats import can_be_read

    shown = [path for path in find_photos([images_dir]) if can_be_read(path)] if images_dir else []
    shown = shown[:: max(1, len(shown) // photos)][:photos]
    checkpoint, counting = find_model(**options)
    calibration = Calibration.read(counting) if counting else None
    with replacing_files([out], "export-model", Originals([checkpoint, *shown])) as places:
        facts = export_model(checkpoint, places[out], shown, say, calibration)
    if as_json:
        plain = {"out": str(out), "class_names": list(facts.class_names), "size_bytes": out.stat().st_size}
        echo(json.dumps(plain, indent=1))
        return
    echo(f"{out}: {plural(len(facts.class_names), 'class', 'classes')}, {out.stat().st_size / 1e6:.1f} MB")
    echo(f"next: {as_command('agar', 'predict', '--model', out)} photos/")
