"""`agar review` in FiftyOne: writes suspects, removes them, and applies those that a person accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

    from agar_pipeline.artifacts import CocoCache, Snapshot

_NAMED = 10


def can_be_shown() -> bool:
    """Whether there is a FiftyOne dataset to write suspects into; if not, say why."""
    import importlib.util

    from agar_pipeline.config import load_pipeline

    if load_pipeline().snapshot.source != "fiftyone":
        say("note: the pipeline reads COCO files, so the suspects are not shown in FiftyOne; see --out-dir")
        return False
    if importlib.util.find_spec("fiftyone") is None:
        say("note: FiftyOne is not installed, so the suspects are not shown there; see --out-dir")
        return False
    return True


def require_shown() -> None:
    """Raise PipelineError if there is no FiftyOne dataset to write suspects into, before long work begins."""
    from agar_pipeline.config import load_pipeline
    from agar_pipeline.errors import MissingPackageError

    load_pipeline().fiftyone_snapshot  # noqa: B018 - it raises for COCO files
    MissingPackageError.require("fiftyone")


LEAST_PROBABILITY = 0.05
"""Of the suspects that are written to FiftyOne. A bad model has hundreds of thousands of less probable ones."""


def show_suspects(
    suspects: pd.DataFrame,
    snapshot: Snapshot,
    cache: CocoCache,
    experiment: str,
    *,
    app: bool,
    overwrite: bool,
    port: int | None,
    hosts: tuple[str, ...],
    migrate_database: bool,
) -> None:
    """Write suspects to the dataset of their snapshot, and open the App on them if asked."""
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.reviewing import FIELDS, write_suspects
    from agar_pipeline.use_cases.viewing import open_app

    source, home = load_pipeline().fiftyone_snapshot, agar_home()
    likely = suspects[suspects["score"] >= LEAST_PROBABILITY]
    if unlikely := len(suspects) - len(likely):
        rest = plural(unlikely, "suspect")
        say(f"note: in suspects.parquet only, with a probability below {LEAST_PROBABILITY:.0%}: {rest}")
    about = f"labels that are probably wrong, by {experiment}, snapshot {snapshot.manifest.fingerprint}"
    written = write_suspects(
        likely, snapshot, cache, about, source.database, home, say, overwrite=overwrite, migrate=migrate_database
    )
    if written.gone:
        gone = plural(len(written.gone), "photo is", "photos are")
        say(f"note: {gone} not in the dataset any more: {name_some(written.gone)}")
    if written.changed:
        photos = name_some(list(dict.fromkeys(written.changed)))
        left_out = f"{plural(len(written.changed), 'suspect is', 'suspects are')} left out"
        what = f"{left_out}, because the labels changed since the snapshot: {photos}"
        say(f"note: {what}; agar run, then review again")
    if written.kept:
        what = f"suspects that somebody tagged or edited were kept on {plural(len(written.kept), 'photo')}"
        say(f"note: {what}: {name_some(written.kept)}; --overwrite replaces them")
    for view in written.views_kept:
        say(f"note: somebody edited the saved view {view!r}, so it was kept; --overwrite replaces it")
    marked = f"{plural(written.suspects, 'suspect')} on {plural(written.photos, 'photo')}"
    echo(f"{written.dataset}: {marked}, in {FIELDS.name}")
    say("tag the suspects that are right with `accept`, then: agar review --accept")
    if app:
        open_app(written.dataset, FIELDS.first_view, source.database, home, say, port=port, more_hosts=hosts)


def remove_from_fiftyone(*, overwrite: bool, migrate_database: bool) -> None:
    """Remove the suspects of the pipeline's dataset."""
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.reviewing import FIELDS, remove_suspects

    source, home = load_pipeline().fiftyone_snapshot, agar_home()
    done = remove_suspects(source.dataset, source.database, home, say, overwrite=overwrite, migrate=migrate_database)
    what = f"removed {FIELDS.name} and its saved views" if done else "holds no suspects of agar review"
    echo(f"{source.dataset}: {what}")


def accept_suggestions(word: str, to_field: str | None, *, migrate_database: bool) -> int:
    """Apply accepted suggestions; return the number of those that were refused."""
    from agar_pipeline.config import agar_home, configs_dir, load_pipeline, pipeline_name
    from agar_pipeline.fiftyone_io.writing.accepted_labels import count_in_words
    from agar_pipeline.use_cases.accepted_suspects import Choice
    from agar_pipeline.use_cases.accepting import accept

    source = load_pipeline().fiftyone_snapshot
    done = accept(Choice.read(word), source, agar_home(), say, to_field=to_field, migrate=migrate_database)
    for sentence in done.refused[:_NAMED]:
        say(f"not applied: {sentence}")
    if len(done.refused) > _NAMED:
        say(f"not applied: {len(done.refused) - _NAMED} more")
    counted = f"{count_in_words(done.kinds)} on {plural(done.photos, 'photo')}"
    earlier = f"; {plural(done.already, 'suggestion')} had been applied before" if done.already else ""
    echo(f"{done.to_field}: {counted}{earlier}; {done.label_field} is unchanged")
    if source.label_field == done.to_field:
        echo("next: agar plan")
    else:
        file = configs_dir() / "pipeline" / f"{pipeline_name()}.yaml"
        if file.is_relative_to(Path.cwd()):
            file = file.relative_to(Path.cwd())
        echo(f"next: set snapshot.label_field: {done.to_field} in {file}, then agar plan")
    return len(done.refused)
