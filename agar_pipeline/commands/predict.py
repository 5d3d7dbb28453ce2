"""`agar predict`: counts the colonies on images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.chosen_model import FILE, find_model, load_calibration, load_model, model_options
from agar_pipeline.commands.number_options import FiniteRange
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.counting.samples import Sample
    from agar_pipeline.counting.sheet import Sheet
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, PhotoModel
    from agar_pipeline.ownership.folders import OwnFolder


@click.command("predict", epilog="Example: agar predict --experiment demo photos/ --out-dir counted")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@model_options
@click.option("--model", type=FILE, help="ONNX file of agar export-model.")
@click.option("--sheet", "sheet_path", type=FILE, help="CSV of a dilution series, see below: computes CFU/ml.")
@click.option("--score-threshold", type=FiniteRange(0, 1), help="Default: that of the model, chosen on val.")
@click.option("--json", "as_json", is_flag=True, help="Print COCO: images, and boxes with their scores.")
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Write pictures, counts and boxes.")
@click.option("--accelerator", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"]))
def command(
    images: tuple[Path, ...],
    model: Path | None,
    sheet_path: Path | None,
    as_json: bool,
    out_dir: Path | None,
    **options: Any,
) -> None:
    """Find and count the colonies on photos; IMAGES are photos, or folders of photos.

    With --sheet, the photos that it lists are counted, and no others. IMAGES may then be left out; the photos of the
    sheet are looked for in these folders, too.

    \b
    The file for --sheet has one line for each plate; volume_ml is what was plated:
      photo,sample,dilution,volume_ml
      1.jpg,milk,1e-2,0.1
      2.jpg,milk,1e-3,0.1

    With --experiment, the classes that count are those of the pipeline file. A checkpoint alone counts all its classes.

    If a photo cannot be read, it is named, the others are predicted, and the exit code is 1. Needs neither Dagster
    nor FiftyOne.
    """  # noqa: D301 - click reads this backspace as "keep the lines"
    _require_usable(images, sheet_path, model, options)
    from agar_pipeline.commands.predict_words import print_counts
    from agar_pipeline.commands.terminal import progress_bar, say
    from agar_pipeline.config import agar_home
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, count_photos
    from agar_pipeline.processes.gpu_leases import leased_here
    from agar_pipeline.use_cases.count_files import open_counts
    from agar_pipeline.use_cases.counted_sheet import estimate_counted
    from agar_pipeline.use_cases.sample_files import SAMPLE_FILES

    checkpoint, counting = None, None
    if model is None:
        checkpoint, counting = find_model(options["experiment"], options["checkpoint"], options["counting"])
    sheet, paths = photos_to_count(images, sheet_path)
    inputs = [path for path in (checkpoint, counting, model, sheet_path) if path]
    folder = None if out_dir is None else open_counts(out_dir, paths, inputs, SAMPLE_FILES if sheet else ())
    with leased_here("cpu" if checkpoint is None else options["accelerator"], agar_home(), say):
        counter = load_model(checkpoint, model, options["accelerator"])
        calibration = load_calibration(counter, counting, options["score_threshold"])
        with progress_bar("counting colonies") as progress:
            answers = list(count_photos(counter, paths, calibration, progress))
    counted = [answer for answer in answers if isinstance(answer, PhotoCount)]
    unread = [answer.in_one_line for answer in answers if not isinstance(answer, PhotoCount)]
    if not counted and not as_json:
        _end_with_unread(unread, len(paths))
    samples = estimate_counted(sheet, counter, counted, calibration) if sheet else []
    print_counts(counter, counted, calibration, samples, as_json)
    say(calibration.words)
    say(calibration.interval_words)
    if checkpoint is not None and counting is None:
        say("note: a checkpoint alone counts all its classes; --experiment or --counting counts as the pipeline says")
    if folder is None:
        say("next: run the same command with --out-dir counted, which draws the boxes")
    else:
        _write_files(folder, counter, counted, calibration, samples, inputs[0].name)
    for one in counted:
        for words in one.notes:
            say(f"note: {one.path}: {words}")
    _end_with_unread(unread, len(paths))


def _end_with_unread(unread: list[str], photos: int) -> None:
    """Name the photos that could not be read, and exit with 1; return if all could."""
    from agar_pipeline.commands.terminal import say

    for error in unread:
        say(f"error: {error}")
    if unread:
        others = "the others are counted" if len(unread) < photos else "nothing was counted"
        say(f"{len(unread)} of {plural(photos, 'photo')} could not be read; {others}")
        raise click.exceptions.Exit(1)


def _require_usable(
    images: tuple[Path, ...], sheet_path: Path | None, model: Path | None, options: dict[str, Any]
) -> None:
    """Raise UsageError if the options name no model, several models, or no photos."""
    if sum(one is not None for one in (options["experiment"], options["checkpoint"], model)) != 1:
        raise click.UsageError("give one of --experiment, --checkpoint and --model")
    if options["counting"] is not None and options["checkpoint"] is None:
        raise click.UsageError("--counting can only be used with --checkpoint")
    if not images and sheet_path is None:
        raise click.UsageError("give photos, folders of photos, or --sheet")


def _write_files(
    folder: OwnFolder,
    counter: PhotoModel,
    counted: list[PhotoCount],
    calibration: Calibration,
    samples: list[Sample],
    model_name: str,
) -> None:
    """Write counts, boxes and pictures, and the samples of a sheet; say where to look."""
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.text.safe_text import as_command
    from agar_pipeline.use_cases.count_files import write_counts
    from agar_pipeline.use_cases.sample_files import PAGE, TABLE, write_samples

    if kept := write_counts(counter, counted, calibration, folder):
        say(f"note: kept {name_some(kept)}: files of an earlier run that were changed since")
    if samples:
        counted_by = f"{model_name}: {calibration.words}; {calibration.interval_words}"
        write_samples(samples, folder, calibration.countable, counted_by)
        say(f"look at {folder.root / PAGE}, and {TABLE} beside it")
    say(f"look at {folder.root}: pictures, counts.csv and predictions.json")
    say(f"next: {as_command('agar', 'view', '--counted', folder.root)} corrects the boxes in FiftyOne")


def photos_to_count(images: tuple[Path, ...], sheet_path: Path | None) -> tuple[Sheet | None, list[Path]]:
    """Return the sheet, if one is given, and the photos; say what is passed over."""
    from agar_pipeline.commands.terminal import say
    from agar_pipeline.detection.inference.photo_folder import find_photos
    from agar_pipeline.photos.folder_walk import PassedOver
    from agar_pipeline.use_cases.counted_sheet import open_sheet

    passed_over = PassedOver()
    sheet, notes = (None, []) if sheet_path is None else open_sheet(sheet_path, images, passed_over)
    paths = find_photos(images, passed_over) if sheet is None else sheet.photos
    for note in (*passed_over.notes(Path.cwd()), *notes):
        say(f"note: {note}")
    return sheet, paths
