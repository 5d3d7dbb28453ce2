"""`agar view`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agar_pipeline.commands.database_options import migrate_option
from agar_pipeline.commands.terminal import echo, say

if TYPE_CHECKING:
    from agar_pipeline.lineage import Record
    from agar_pipeline.store import Store


@click.command("view", epilog="Example: agar view --experiment demo")
@click.option("--experiment", help="Its current evaluation; may be left out where there is one only.")
@click.option("--run", "word", help="A fingerprint of an evaluation or training, its first letters, or a folder.")
@click.option("--plates", default=20, show_default=True, type=click.IntRange(1), help="In the view of the worst.")
@click.option("--no-app", is_flag=True, help="Write, but do not open the App.")
@click.option("--remove", is_flag=True, help="Take the run's fields and view back; without a run: those of all runs.")
@migrate_option
def command(
    experiment: str | None, word: str | None, plates: int, no_app: bool, remove: bool, migrate_database: bool
) -> None:
    """Predictions, kinds of errors and count errors in FiftyOne, the worst plates first.

    Writes three fields and a saved view per run onto the dataset, and nothing else; labels and snapshots stay as they
    are.
    """
    if experiment and word:
        raise click.UsageError("give either --experiment or --run")
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.store import Store

    store, source = Store(agar_home()), load_pipeline().fiftyone_snapshot
    from agar_pipeline.viewing import dataset_of, fields_of, open_app, remove_runs, write_run

    if remove:
        record = _find(store, experiment or word) if experiment or word else None
        dataset = dataset_of(record, store) if record else source.dataset
        run = fields_of(record).name if record else None
        removed = remove_runs(dataset, run, source.database, store.home, say, migrate=migrate_database)
        echo(f"{dataset}: removed {', '.join(removed) or 'nothing, there was nothing of agar view'}")
        say("next: agar plan")
        return
    record = _find(store, experiment or word)
    written = write_run(store, record, source.database, store.home, plates, say, migrate=migrate_database)
    if written.gone:
        say(f"note: {len(written.gone)} photos are not in the dataset any more: {', '.join(written.gone[:3])}")
    name = written.fields.name
    echo(f"{written.dataset}: {written.boxes} boxes on {written.plates} plates, in {name} and {name}_missed")
    again = f"agar view --run {name.rpartition('_')[2]}"
    if no_app:
        echo(f"next: {again} opens the App on {written.fields.view!r}; {again} --remove takes it back")
    else:
        open_app(written, source.database, store.home, say)


def _find(store: Store, word: str | None) -> Record:
    from agar_pipeline.errors import ArtifactError
    from agar_pipeline.run_comparison import find_evaluation, list_evaluations

    if word is None:
        current = [row["experiment"] for row in list_evaluations(store) if row["latest"]]
        if len(current) != 1:
            there = f"there are: {', '.join(current)}" if current else "nothing was evaluated yet: agar run"
            raise ArtifactError(f"which evaluation? Give --experiment; {there}")
        word = current[0]
    return find_evaluation(store, word)
