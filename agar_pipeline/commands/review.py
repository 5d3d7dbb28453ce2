"""`agar review`: finds labels that are probably wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agar_pipeline.commands.terminal import echo, say

if TYPE_CHECKING:
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.coco.detections import Detections

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("review", epilog="Example: agar review --experiment demo --out-dir suspects")
@click.option("--experiment", help="Review the part that its current evaluation scored.")
@click.option("--predictions", type=FILE, help="COCO results, or the file that agar predict writes.")
@click.option("--json", "coco_json", type=FILE, help="With --predictions: the COCO annotations to review.")
@click.option(
    "--images-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that the file_names of the COCO file are relative to; default: the folder of the COCO file.",
)
@click.option("--out-dir", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--pictures", default=48, show_default=True, type=click.IntRange(0, 400), help="Suspects to draw.")
def command(
    experiment: str | None,
    predictions: Path | None,
    coco_json: Path | None,
    images_dir: Path | None,
    out_dir: Path,
    pictures: int,
) -> None:
    """Find labels that are probably wrong, the most probable first: missed colonies, boxes too many, wrong classes,
    poor boxes, double boxes, and two colonies in one box.

    Writes suspects.parquet, review.json and report.html; the labels do not change. The model must not have been trained
    on these photos: of an experiment, only the part that was evaluated is reviewed.
    """
    if (experiment is None) == (predictions is None):
        raise click.UsageError("give either --experiment or --predictions")
    if (predictions is None) != (coco_json is None):
        raise click.UsageError("--predictions needs --json, the COCO file to review, and --json needs --predictions")
    from agar_pipeline.ownership.beside_photos import require_no_photos
    from agar_pipeline.ownership.folders import OwnFolder
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.reports.review_files import REVIEW_FILES, write_review

    if experiment is not None:
        predictions, coco_json, images_dir = _evaluated(experiment)
    assert predictions is not None
    assert coco_json is not None
    folder = OwnFolder(out_dir, "review", Originals([predictions, coco_json]))
    require_no_photos(out_dir, "review")
    columns, detections = _read(predictions, coco_json)
    title = f"Suspect labels of {coco_json.stem}"
    with folder.replacing(REVIEW_FILES) as draft:
        write_review(
            columns,
            detections,
            images_dir or coco_json.parent,
            draft.root,
            pictures=pictures,
            title=title if experiment is None else f"{title}, by {experiment}",
            log=echo,
        )
    echo(f"look at {out_dir / 'report.html'}")


def _evaluated(experiment: str) -> tuple[Path, Path, Path]:
    """Return the predictions of an experiment's current evaluation, their COCO file, and the folder of its images."""
    from agar_pipeline.chain.current import Current
    from agar_pipeline.chain.nodes import pipeline_nodes
    from agar_pipeline.config import agar_home, load_experiment, load_pipeline
    from agar_pipeline.store import Key, Store

    nodes = pipeline_nodes(load_pipeline(), {experiment: load_experiment(experiment)})
    current = Current(Store(agar_home()), nodes)
    cache, evaluation = current.open(Key("coco_cache")), current.open(Key("evaluation", experiment))
    part = evaluation.metrics()["part"]
    if part == "train":
        say("note: the model was trained on these photos, so it repeats the errors of their labels")
    return evaluation.root / "predictions.json", cache.json_path(part), cache.images_dir


def _read(predictions: Path, coco_json: Path) -> tuple[CocoColumns, Detections]:
    """Read both; classes and images of a file of `agar predict` are matched by their names.

    Raises:
        AnnotationError: the predictions do not belong to this COCO file.
        DatasetError: the COCO file lists no image.
    """
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.coco.detections import read_detections
    from agar_pipeline.scoring.prediction_file import is_predicted, read_predicted

    columns = read_coco(coco_json)
    columns.require_images(coco_json)
    if not is_predicted(predictions):
        return columns, read_detections(predictions, coco_json)
    predicted = read_predicted(predictions, coco_json, columns)
    for note in predicted.notes:
        say(f"note: {note}")
    return predicted.columns, predicted.detections
