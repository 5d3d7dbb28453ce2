"""`agar review --unlabelled` and `--join`: which photos to annotate next, and the annotated ones into the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agar_pipeline.commands.terminal import echo, progress_bar, say
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command

if TYPE_CHECKING:
    from agar_pipeline.use_cases.proposals import NewPhotos, Proposals, ProposingModels
    from agar_pipeline.use_cases.viewing_counted import WrittenFolder

_PROPOSALS = "proposals"
"""Folder of the home."""


def propose_next(
    given: Path,
    experiment: str | None,
    budget: int,
    out_dir: Path | None,
    *,
    app: bool,
    overwrite: bool,
    port: int | None,
    hosts: tuple[str, ...],
    migrate_database: bool,
) -> bool:
    """Choose photos of a folder, write them with proposed boxes into a dataset of their own, and open the App.

    Returns:
        Whether all photos could be read.
    """
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.errors import MissingPackageError
    from agar_pipeline.use_cases.viewing import open_app
    from agar_pipeline.use_cases.viewing_counted import require_own, write_counted

    MissingPackageError.require("fiftyone")
    home, pipeline = agar_home(), load_pipeline()
    given = given.resolve()  # as imports do: the paths of photos that join must not lead through `..`
    out = out_dir or home / _PROPOSALS / f"{given.name}_to_annotate"
    experiment = experiment or _only(pipeline.experiments)
    require_own(out, pipeline.database, home)
    proposals = _choose(given, experiment, budget, out, home)
    written = write_counted(out, None, pipeline.database, home, say, overwrite=overwrite, migrate=migrate_database)
    _tell(proposals, written, out, can_join=pipeline.snapshot.source == "fiftyone")
    if app:
        open_app(written.dataset, None, pipeline.database, home, say, port=port, more_hosts=hosts)
    return not proposals.unread


def _tell(proposals: Proposals, written: WrittenFolder, out: Path, *, can_join: bool) -> None:

    for rank, (path, one) in enumerate(zip(proposals.chosen_paths, proposals.chosen, strict=True), start=1):
        echo(f"{rank}. {path}: {one.reason}")
    if written.kept:
        what = f"boxes that somebody tagged as annotated or edited were kept on {plural(len(written.kept), 'photo')}"
        say(f"note: {what}: {name_some(written.kept)}; --overwrite replaces them")
    if written.others:
        say(f"note: still in the dataset: {plural(written.others, 'photo')} of an earlier call")
    boxes, photos = plural(written.boxes, "proposed box", "proposed boxes"), plural(written.plates, "photo")
    echo(f"{written.dataset}: {boxes} on {photos}, in agar_counted")
    say(f"look at {out}: pictures, and choice.csv with the order")
    for error in proposals.unread:
        say(f"error: {error.in_one_line}")
    if can_join:
        join = as_command("agar", "review", "--join", written.dataset)
        say(f"next: correct the boxes in FiftyOne, give each finished photo the tag 'annotated', then {join}")
    else:
        export = as_command("agar", "count", "--corrected", "--counted", out, "--export", "corrected.json")
        say(f"next: correct the boxes in FiftyOne, then {export}: the pipeline reads COCO files")


def _only(experiments: Sequence[str]) -> str:
    if len(experiments) != 1:
        raise click.UsageError(f"give --experiment, one of: {', '.join(experiments)}")
    return experiments[0]


def find_proposing_models(experiment: str) -> ProposingModels:
    """Return the artifacts of an experiment that choose and propose; what is stale is built first."""
    from agar_pipeline.commands.reviewed import open_review
    from agar_pipeline.store import Key
    from agar_pipeline.use_cases.proposals import ProposingModels

    opened = open_review(experiment)
    snapshot, cache = (opened.current.open(Key(name)) for name in ("snapshot", "coco_cache"))
    best = opened.current.open(Key("training_run", experiment)).best_checkpoint
    return ProposingModels(snapshot, cache, opened.review.fold_checkpoints, best)


def _choose(given: Path, experiment: str, budget: int, out: Path, home: Path) -> Proposals:
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, count_photos, find_photos
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.photos.folder_walk import PassedOver
    from agar_pipeline.processes.gpu_leases import leased_here
    from agar_pipeline.use_cases import proposals as choosing
    from agar_pipeline.use_cases.count_files import open_counts, write_counts

    passed_over = PassedOver()
    paths = find_photos([given], passed_over)
    for note in passed_over.notes(Path.cwd()):
        say(f"note: {note}")
    choosing.require_same(out, given)
    folder = open_counts(out, paths, [], [choosing.CHOICE])
    artifacts = find_proposing_models(experiment)
    new = choosing.find_new(paths, artifacts.snapshot, home)
    _say_left_out(new)
    with leased_here("auto", home, say):
        models = [Predictor.load(path) for path in artifacts.folds]
        with progress_bar("looking at photos") as progress:
            proposals = choosing.propose(models, new.paths, artifacts.cache, budget, progress)
        best = Predictor.load(artifacts.best)
        with progress_bar("proposing boxes") as progress:
            answers = list(count_photos(best, proposals.chosen_paths, best.calibration, progress))
    counted = [answer for answer in answers if isinstance(answer, PhotoCount)]
    write_counts(best, counted, best.calibration, folder)
    choosing.write_choice(proposals, folder)
    return proposals


def _say_left_out(new: NewPhotos) -> None:

    for what, paths in {
        "in the pipeline's dataset already": new.known,
        "with the same content as another photo of the folder": new.copies,
    }.items():
        if paths:
            names = name_some([path.name for path in paths])
            say(f"note: left out, {what}: {plural(len(paths), 'photo')} ({names})")


def join(dataset: str, *, migrate_database: bool) -> None:
    """Insert the annotated photos of a dataset of proposals into the pipeline's dataset."""
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.counted_folder import ANNOTATED
    from agar_pipeline.use_cases.joined_proposals import join_proposals

    pipeline = load_pipeline()
    source = pipeline.fiftyone_snapshot
    joined = join_proposals(dataset, pipeline.class_map, source, agar_home(), say, migrate=migrate_database)
    if joined.there:
        names = name_some([Path(path).name for path in joined.there])
        say(f"note: {joined.dataset} held {len(joined.there)} of the photos already, unchanged: {names}")
    if joined.waiting:
        say(f"note: without the tag {ANNOTATED!r}, and not joined yet: {plural(joined.waiting, 'photo')} of {dataset}")
    if source.view is not None:
        say(f"note: the pipeline reads the view {source.view!r}: make sure that the new photos are in it")
    photos, annotations = plural(len(joined.added), "photo"), plural(joined.boxes, "annotation")
    echo(f"{joined.dataset}: {photos} with {annotations} joined, in {source.label_field}")
    say("next: agar plan")
