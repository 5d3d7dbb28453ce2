"""`agar evaluate`: scores a checkpoint or predictions against any COCO file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agar_pipeline.commands.number_options import FiniteRange
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.plurals import plural

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "evaluate",
    epilog="Example: agar evaluate --checkpoint best.ckpt --images-dir photos --json val.json --out-dir scores",
)
@click.option("--checkpoint", type=FILE, help="Checkpoint of a training run; needs --images-dir.")
@click.option("--counting", type=FILE, help="counting.json of an evaluation: which classes count, from which score.")
@click.option("--predictions", type=FILE, help="COCO results, or the file that agar predict writes.")
@click.option("--json", "coco_json", required=True, type=FILE, help="The COCO annotations to compare with.")
@click.option(
    "--images-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that the file_names of the COCO file are relative to.",
)
@click.option("--out-dir", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--score-threshold", type=FiniteRange(0, 1), help="Default: that of the checkpoint, chosen on val.")
@click.option("--pictures", default=12, show_default=True, type=click.IntRange(0, 100), help="Plates to draw.")
@click.option("--accelerator", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"]))
def command(
    checkpoint: Path | None,
    predictions: Path | None,
    counting: Path | None,
    coco_json: Path,
    images_dir: Path | None,
    out_dir: Path,
    **options: Any,
) -> None:
    """Score a checkpoint or predictions against any COCO file: metrics, counts, kinds of errors, and a page with the
    worst plates.

    Writes metrics.json, predictions.json, matches.parquet and report.html. Needs neither Dagster nor FiftyOne.
    """
    if (checkpoint is None) == (predictions is None):
        raise click.UsageError("give either --checkpoint or --predictions")
    if checkpoint is not None and images_dir is None:
        raise click.UsageError("--checkpoint needs --images-dir, the folder of the photos to predict")
    from agar_pipeline.config import agar_home
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.ownership.beside_photos import require_no_photos
    from agar_pipeline.ownership.folders import OwnFolder
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.processes.gpu_leases import leased_here
    from agar_pipeline.reports.scorecard import EVALUATION_FILES, evaluate_checkpoint, evaluate_predictions
    from agar_pipeline.snapshots.photo_content import count_learnt

    learnt, photos_in_all = (checkpoint and count_learnt(checkpoint, coco_json)) or (0, 0)
    if learnt:
        these = plural(photos_in_all, "photo")
        say(f"note: the model was trained on {learnt} of the {these}, so their score says little about new plates")
    calibration = Calibration.read(counting) if counting else None
    inputs = Originals(path for path in (checkpoint, predictions, counting, coco_json) if path)
    folder = OwnFolder(out_dir, "evaluate", inputs)
    require_no_photos(out_dir, "evaluate")
    with folder.replacing(EVALUATION_FILES) as draft:
        if checkpoint is not None and images_dir is not None:
            with leased_here(options["accelerator"], agar_home(), say):
                evaluate_checkpoint(
                    checkpoint, coco_json, images_dir, draft.root, say, calibration=calibration, **options
                )
        elif predictions is not None:
            photos = images_dir or coco_json.parent
            del options["accelerator"]
            evaluate_predictions(predictions, coco_json, photos, draft.root, say, calibration=calibration, **options)
    echo(f"look at {out_dir / 'report.html'}")
