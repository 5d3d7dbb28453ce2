"""`agar review`: finds labels that are probably wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from agar_pipeline.commands.database_options import migrate_option
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.commands.web_options import hosts_option, port_option

if TYPE_CHECKING:
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.coco.detections import Detections

FILE = click.Path(dir_okay=False, path_type=Path)
_USED_WITH = {
    "images_dir": ("predictions",),
    "out_dir": ("experiment", "predictions", "unlabelled"),
    "pictures": ("predictions",),
    "app": ("experiment", "unlabelled"),
    "to_field": ("accept",),
    "budget": ("unlabelled",),
    "overwrite": ("experiment", "remove", "unlabelled"),
}
"""Option → what it can be used with; others can be used with everything."""


@click.command("review", epilog="Example: agar review --experiment demo --out-dir suspects")
@click.option("--experiment", help="Review all parts; what is stale is built first.")
@click.option("--predictions", type=FILE, help="COCO results, or the file that agar predict writes.")
@click.option("--json", "coco_json", type=FILE, help="With --predictions: the COCO annotations to review.")
@click.option(
    "--images-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that the file_names of the COCO file are relative to; default: the folder of the COCO file.",
)
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Write the page and the files here.")
@click.option(
    "--pictures", default=48, show_default=True, type=click.IntRange(0, 400), help="Suspects to draw, of --predictions."
)
@click.option(
    "--app/--no-app",
    default=None,
    help="Write the suspects of --experiment into its FiftyOne dataset, and open the App, or do not open it.  "
    "[default: --app; neither with --out-dir]",
)
@click.option("--remove", is_flag=True, help="Remove the suspects and their saved views from FiftyOne.")
@click.option(
    "--accept",
    is_flag=False,
    flag_value="tag:accept",
    metavar="[tag:NAME|VIEW|FILE]",
    help="Apply the suggestions of suspects to a copy of the label field: those with a tag on their label, those in a "
    "saved view, or those in a CSV, Parquet or JSON file with suspect_id.  [without a value: tag:accept]",
)
@click.option("--to-field", help="With --accept: name of the copy; default: the label field's with _reviewed.")
@click.option(
    "--unlabelled",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Choose the photos of this folder to annotate next, and write them with proposed boxes into a FiftyOne "
    "dataset of their own.",
)
@click.option("--budget", default=20, show_default=True, type=click.IntRange(1), help="With --unlabelled: photos.")
@click.option("--join", metavar="DATASET", help="Add the finished photos of --unlabelled to the pipeline's dataset.")
@click.option("--overwrite", is_flag=True, help="Also replace or remove what somebody edited: suspects, views, boxes.")
@port_option(5151)
@hosts_option
@migrate_option
@click.pass_context
def command(
    context: click.Context,
    experiment: str | None,
    predictions: Path | None,
    coco_json: Path | None,
    images_dir: Path | None,
    out_dir: Path | None,
    pictures: int,
    app: bool | None,
    remove: bool,
    accept: str | None,
    to_field: str | None,
    unlabelled: Path | None,
    budget: int,
    join: str | None,
    overwrite: bool,
    migrate_database: bool,
    **web: Any,
) -> None:
    """Find labels that are probably wrong, the most probable first: missed colonies, boxes too many, wrong classes,
    poor boxes, double boxes, and two colonies in one box.

    Suspects of an experiment are shown in FiftyOne, in a field and saved views of their own; the labels do not change.
    The model must not have been trained on these photos. Of an experiment, all parts are reviewed: val and test by its
    own model, train by models of folds, each of which has not learnt the photos that it predicts.

    With --accept, suggestions that a person confirmed are applied to a copy of the label field, which the pipeline can
    use from then on.

    With --unlabelled, photos are chosen on which models of different parts of the annotations disagree, and that look
    unlike each other. A person corrects their proposed boxes in FiftyOne, and gives each finished photo the tag
    `annotated`; --join then adds these photos to the pipeline's dataset.
    """
    _require_one_mode(context)
    from agar_pipeline.commands import review_unlabelled, review_words

    how = {"overwrite": overwrite, "migrate_database": migrate_database, **web}
    if unlabelled is not None:
        all_read = review_unlabelled.propose_next(
            unlabelled, experiment, budget, out_dir, app=app if app is not None else out_dir is None, **how
        )
        context.exit(0 if all_read else 1)
    if join is not None:
        review_unlabelled.join(join, migrate_database=migrate_database)
    elif remove:
        review_words.remove_from_fiftyone(overwrite=overwrite, migrate_database=migrate_database)
    elif accept is not None:
        context.exit(1 if review_words.accept_suggestions(accept, to_field, migrate_database=migrate_database) else 0)
    elif predictions is not None and coco_json is not None and out_dir is not None:
        _write(predictions, coco_json, images_dir, out_dir, pictures, f"Suspect labels of {coco_json.stem}")
    elif experiment is not None:
        if app is not None:
            review_words.require_shown()
        elif out_dir is None:
            app = review_words.can_be_shown() or None
        _review_experiment(experiment, out_dir, app, how)


def _require_one_mode(context: click.Context) -> None:
    """Raise UsageError unless the options ask for one use of the command, with all that it needs and nothing else."""
    given = {name: value for name, value in context.params.items() if value not in (None, False)}
    modes: list[str] = [mode for mode in ("predictions", "remove", "accept", "unlabelled", "join") if mode in given]
    if "experiment" in given and modes != ["unlabelled"]:
        modes.append("experiment")
    if len(modes) != 1:
        raise click.UsageError("give one of --experiment, --predictions, --remove, --accept, --unlabelled and --join")
    if ("predictions" in given) != ("coco_json" in given):
        raise click.UsageError("--predictions needs --json, the COCO file to review, and --json needs --predictions")
    if "predictions" in given and ("out_dir" not in given or context.params["app"] is not None):
        raise click.UsageError("--predictions needs --out-dir, and cannot be shown in FiftyOne: it has no dataset")
    _require_used(context, modes[0])


def _require_used(context: click.Context, mode: str) -> None:
    """Raise UsageError for an option on the command line that this use of the command would ignore."""
    for option in context.command.params:
        modes = _USED_WITH.get(str(option.name), (mode,))
        is_given = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if is_given and mode not in modes:
            with_modes = " or ".join(f"--{one}" for one in modes)
            raise click.UsageError(f"{option.opts[0]} can only be used with {with_modes}, not with --{mode}")


def _review_experiment(experiment: str, out_dir: Path | None, app: bool | None, how: dict[str, Any]) -> None:
    """Build the review, copy it if there is a folder for it, and write the suspects into FiftyOne unless `app` is
    None.
    """
    from agar_pipeline.commands.review_words import show_suspects
    from agar_pipeline.commands.reviewed import copy_review, open_review
    from agar_pipeline.reports.review_page import estimate_in_words
    from agar_pipeline.store import Key

    opened = open_review(experiment)
    echo(estimate_in_words(opened.review.review()))
    if warning := opened.review.cross_validation()["warning"]:
        say(f"models and labels disagree too much to trust this number, so look at the pictures: {warning}")
    if out_dir is not None:
        copy_review(opened.review, out_dir)
    echo(f"look at {(out_dir or opened.review.root) / 'report.html'}")
    if app is not None:
        snapshot, cache = (opened.current.open(Key(name)) for name in ("snapshot", "coco_cache"))
        show_suspects(opened.review.suspects(), snapshot, cache, experiment, app=app, **how)


def _write(
    predictions: Path, coco_json: Path, images_dir: Path | None, out_dir: Path, pictures: int, title: str
) -> None:
    from agar_pipeline.ownership.beside_photos import require_no_photos
    from agar_pipeline.ownership.folders import OwnFolder
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.reports.review_files import REVIEW_FILES, ReviewedPart, write_review

    folder = OwnFolder(out_dir, "review", Originals([predictions, coco_json]))
    require_no_photos(out_dir, "review")
    columns, detections = _read(predictions, coco_json)
    images_dir = images_dir or coco_json.parent
    with folder.replacing(REVIEW_FILES) as draft:
        parts = [ReviewedPart(coco_json.stem, columns, detections)]
        write_review(parts, images_dir, draft.root, pictures=pictures, title=title, log=echo)
    echo(f"look at {out_dir / 'report.html'}")


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
