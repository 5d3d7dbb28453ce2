"""`agar predict`: counts the colonies on images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agar_pipeline.detection.inference.photo_folder import PhotoModel


@click.command("predict", epilog="Example: agar predict --checkpoint best.ckpt photos/ --out-dir counted")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Path(dir_okay=False, path_type=Path), help="Checkpoint of a training run.")
@click.option("--model", type=click.Path(dir_okay=False, path_type=Path), help="ONNX file of agar export-model.")
@click.option("--score-threshold", type=click.FloatRange(0, 1), help="Default: that of the model, chosen on val.")
@click.option("--json", "as_json", is_flag=True, help="Print COCO: images, and boxes with their scores.")
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Write pictures, counts and boxes.")
@click.option("--accelerator", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"]))
def command(images: tuple[Path, ...], as_json: bool, out_dir: Path | None, **options: Any) -> None:
    """Find and count the colonies on photos; IMAGES are photos, or folders of photos.

    If a photo cannot be read, it is named, the others are predicted, and the exit code is 1. Needs neither Dagster
    nor FiftyOne.
    """
    if (options["checkpoint"] is None) == (options["model"] is None):
        raise click.UsageError("give either --checkpoint or --model")
    from agar_pipeline.commands.predict_words import print_counts
    from agar_pipeline.commands.terminal import progress_bar, say
    from agar_pipeline.config import agar_home
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, count_photos, find_photos
    from agar_pipeline.photos.folder_walk import PassedOver
    from agar_pipeline.processes.gpu_leases import leased_here
    from agar_pipeline.use_cases.count_files import open_counts, write_counts

    passed_over = PassedOver()
    paths = find_photos(images, passed_over)
    for note in passed_over.notes(Path.cwd()):
        say(f"note: {note}")
    folder = None
    if out_dir is not None:
        folder = open_counts(out_dir, paths, options["checkpoint"] or options["model"])
    asked = options["score_threshold"]
    with leased_here(options["accelerator"] if options["checkpoint"] else "cpu", agar_home(), say):
        model = load_model(options["checkpoint"], options["model"], options["accelerator"])
        threshold = model.score_threshold if asked is None else asked
        with progress_bar("counting colonies") as progress:
            answers = list(count_photos(model, paths, threshold, progress))
    counted = [answer for answer in answers if isinstance(answer, PhotoCount)]
    print_counts(model, counted, as_json)
    if folder is not None:
        write_counts(model, counted, folder)
        say(f"look at {out_dir}: pictures, counts.csv and predictions.json")
    else:
        say("next: run the same command with --out-dir counted, which draws the boxes")
    for one in counted:
        for words in one.notes:
            say(f"note: {one.path}: {words}")
    unread = [answer for answer in answers if not isinstance(answer, PhotoCount)]
    for error in unread:
        say(f"error: {error.in_one_line}")
    if unread:
        say(f"{len(unread)} of {len(paths)} photos could not be read; the others are done")
        raise click.exceptions.Exit(1)


def load_model(checkpoint: Path | None, onnx: Path | None, accelerator: str) -> PhotoModel:
    """Load a checkpoint, or an exported ONNX model."""
    if checkpoint is None:
        from agar_pipeline.detection.inference.onnx_model import OnnxModel

        assert onnx is not None
        return OnnxModel.load(onnx)
    from agar_pipeline.detection.inference.predict import Predictor

    return Predictor.load(checkpoint, accelerator)
