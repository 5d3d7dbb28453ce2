"""`agar view`: shows an evaluation, or photos that `agar predict` counted, in FiftyOne, or removes it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.database_options import migrate_option
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.commands.web_options import hosts_option, port_option
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command

_FOLDER = click.Path(file_okay=False, path_type=Path)
if TYPE_CHECKING:
    from agar_pipeline.config import SnapshotConfig
    from agar_pipeline.store import Store


@click.command("view", epilog="Example: agar view --experiment demo")
@click.option("--experiment", help="Show its current evaluation; not needed if there is only one.")
@click.option("--run", "word", help="Fingerprint of an evaluation or training, its first letters, or a folder.")
@click.option("--counted", type=_FOLDER, help="Show photos that agar predict --out-dir counted into this folder.")
@click.option("--dataset", help="With --counted: name of the new dataset; default: the folder's name.")
@click.option(
    "--plates", default=20, show_default=True, type=click.IntRange(1), help="Plates in the view of the worst."
)
@click.option("--no-app", is_flag=True, help="Write the predictions, but do not open the App.")
@click.option("--remove", is_flag=True, help="Remove the fields and the view of the run instead of writing them.")
@click.option("--all", "all_runs", is_flag=True, help="With --remove: all runs of the pipeline's dataset.")
@click.option("--overwrite", is_flag=True, help="Also replace or remove predictions and views that somebody edited.")
@port_option(5151)
@hosts_option
@migrate_option
def command(
    experiment: str | None,
    word: str | None,
    counted: Path | None,
    dataset: str | None,
    plates: int,
    no_app: bool,
    remove: bool,
    all_runs: bool,
    **how: Any,
) -> None:
    """Show predictions, kinds of errors and count errors in FiftyOne, the worst plates first.

    Writes three fields and a saved view per run to the dataset, and nothing else; labels and snapshots do not change.
    Predictions that somebody edited are kept, and named.

    With --counted, the photos get a dataset of their own, with the predictions to correct; see agar count.
    """
    if sum(given is not None for given in (experiment, word, counted)) > 1:
        raise click.UsageError("give only one of --experiment, --run and --counted")
    if dataset and not counted:
        raise click.UsageError("--dataset can only be used with --counted")
    if all_runs and (not remove or experiment or word or counted):
        raise click.UsageError("--all can only be used with --remove, and without --experiment, --run and --counted")
    if counted is not None:
        if remove:
            _remove_counted(counted, dataset, **how)
        else:
            _view_counted(counted, dataset, no_app=no_app, **how)
    elif remove:
        _remove_runs(experiment, word, all_runs, **how)
    else:
        _view_run(experiment or word, plates, no_app=no_app, **how)


def _view_run(
    word: str | None,
    plates: int,
    *,
    no_app: bool,
    overwrite: bool,
    port: int | None,
    hosts: tuple[str, ...],
    migrate_database: bool,
) -> None:
    from agar_pipeline.commands.experiment import choose_evaluation
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.store import Store

    store, source = Store(agar_home()), load_pipeline().fiftyone_snapshot
    from agar_pipeline.use_cases.viewing import open_app, write_run

    record = choose_evaluation(store, word)
    written = write_run(
        store, record, source.database, store.home, plates, say, overwrite=overwrite, migrate=migrate_database
    )
    name = written.fields.name
    if written.gone:
        gone = plural(len(written.gone), "photo is", "photos are")
        say(f"note: {gone} not in the dataset any more: {name_some(written.gone)}")
    if written.kept:
        what = f"predictions that somebody edited were kept on {plural(len(written.kept), 'photo')}"
        say(f"note: {what}: {name_some(written.kept)}; --overwrite replaces them")
    if written.view_kept:
        say(f"note: somebody edited the saved view {written.fields.view!r}, so it was kept; --overwrite replaces it")
    predicted, missed = plural(written.predictions, "prediction"), plural(written.missed, "missed annotation")
    plates_shown = plural(written.plates, "plate")
    echo(f"{written.dataset}: {predicted} in {name} and {missed} in {name}_missed, on {plates_shown}")
    again = f"agar view --run {name.rpartition('_')[2]}"
    if no_app:
        echo(f"next: {again} opens the App on {written.fields.view!r}; {again} --remove removes it again")
    else:
        open_app(written.dataset, written.fields.view, source.database, store.home, say, port=port, more_hosts=hosts)


def _remove_runs(
    experiment: str | None, word: str | None, all_runs: bool, *, overwrite: bool, migrate_database: bool, **_: Any
) -> None:
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.store import Store

    store, source = Store(agar_home()), load_pipeline().fiftyone_snapshot
    from agar_pipeline.use_cases.viewing import remove_runs

    dataset, runs = _runs_to_remove(store, source, experiment, word, all_runs)
    remove_runs(dataset, runs, source.database, store.home, say, overwrite=overwrite, migrate=migrate_database)
    echo(f"{dataset}: removed {', '.join(runs) or 'nothing, because the dataset holds no runs of agar view'}")
    say("next: agar plan")


def _runs_to_remove(
    store: Store, source: SnapshotConfig, experiment: str | None, word: str | None, all_runs: bool
) -> tuple[str, list[str]]:
    """Return the dataset, and the names of the runs to remove; a run is found even if its evaluation was dropped."""
    from agar_pipeline.commands.experiment import choose_evaluation
    from agar_pipeline.use_cases.predicted_plates import dataset_of, fields_of
    from agar_pipeline.use_cases.viewing import list_runs_of

    if not experiment:
        there = list_runs_of(source.dataset, source.database, store.home)
        if all_runs or (not there and not word):
            return source.dataset, there
        if not word:
            raise click.UsageError(
                f"give --run with the run to remove, or --all to remove all; there are: {', '.join(there)}"
            )
        named = [run for run in there if run == word or run.endswith(f"_{word}")]
        if len(named) == 1:
            return source.dataset, named
    record = choose_evaluation(store, experiment or word)
    return dataset_of(record, store), [fields_of(record).name]


def _view_counted(
    folder: Path,
    dataset: str | None,
    *,
    no_app: bool,
    overwrite: bool,
    port: int | None,
    hosts: tuple[str, ...],
    migrate_database: bool,
) -> None:
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.viewing import open_app
    from agar_pipeline.use_cases.viewing_counted import write_counted

    home, database = agar_home(), load_pipeline().database
    written = write_counted(folder, dataset, database, home, say, overwrite=overwrite, migrate=migrate_database)
    if written.missing:
        missing = plural(len(written.missing), "photo is not at its place", "photos are not at their place")
        say(f"note: {missing}: {name_some(written.missing)}")
    if written.kept:
        photos = plural(len(written.kept), "photo")
        what = f"predictions that somebody tagged as annotated or edited were kept on {photos}"
        say(f"note: {what}: {name_some(written.kept)}; --overwrite replaces them")
    if written.others:
        others = plural(written.others, "sample")
        say(f"note: kept, and not counted, because {folder} has no such photo: {others} of the dataset")
    boxes, plates = plural(written.boxes, "box", "boxes"), plural(written.plates, "plate")
    echo(f"{written.dataset}: {boxes} on {plates}, in agar_counted")
    if no_app:
        again = as_command("agar", "view", "--counted", folder)
        echo(
            f"next: {again} opens the App; correct the boxes, then {as_command('agar', 'count', '--corrected')}"
            f" {as_command('--counted', folder)}"
        )
    else:
        open_app(written.dataset, None, database, home, say, port=port, more_hosts=hosts)


def _remove_counted(folder: Path, dataset: str | None, *, overwrite: bool, migrate_database: bool, **_: Any) -> None:
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.viewing_counted import remove_counted

    database = load_pipeline().database
    name = remove_counted(folder, dataset, database, agar_home(), say, overwrite=overwrite, migrate=migrate_database)
    echo(f"removed the dataset {name}; the photos and {folder} stay")
