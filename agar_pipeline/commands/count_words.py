"""The output of `agar count` on the terminal: a table of plates and a total, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    from agar_pipeline.use_cases.corrected_counts import CountedPlate, Counts
    from agar_pipeline.use_cases.corrections import Corrections
    from agar_pipeline.use_cases.predicted_plates import PredictedPlates


def print_counts(counts: Counts, found: Corrections, *, corrected: bool, as_json: bool) -> None:
    if as_json:
        plain = {"plates": [plate.to_plain() for plate in counts.plates], "changes": found.changes()}
        echo(json.dumps(plain))
        return
    shown = [plate for plate in counts.plates if plate.source == "corrected" or not corrected]
    wide = max([9, *(len(_as_predicted(plate)) for plate in shown)])
    width = max([len("image"), *(len(plate.image) for plate in shown)])
    if shown:
        echo(f"{'image':<{width}} " + (f"{'predicted':>9} {'corrected':>9}" if corrected else f"{'colonies':>{wide}}"))
    for plate in shown:
        echo(f"{plate.image:<{width}} " + (_as_corrected(plate) if corrected else f"{_as_predicted(plate):>{wide}}"))
    total, before = (sum(getattr(plate, name) for plate in counts.plates) for name in ("colonies", "predicted"))
    colonies, plates = plural(total, "colony", "colonies"), plural(len(counts.plates), "plate")
    if corrected:
        touched = f"{len(shown)} of {plates} touched"
        echo(f"{touched}; {_name_changes(found.changes()) or 'no box was changed'}; {before} → {colonies}")
    else:
        echo(f"{colonies} on {plates}, as predicted")


def _as_predicted(plate: CountedPlate) -> str:
    """Return `27 (24–30)`, or the count alone where it has no interval."""
    return f"{plate.colonies}" + (f" ({plate.interval[0]}–{plate.interval[1]})" if plate.interval else "")


def _as_corrected(plate: CountedPlate) -> str:
    return f"{plate.predicted:>9} {plate.colonies:>9}  {_name_changes(plate.changes)}"


def _name_changes(changes: Mapping[str, int]) -> str:
    """Name what was changed: `boxes: 31 added, 8 removed`; empty if nothing was."""
    words = [f"{count} {kind}" for kind, count in changes.items() if count]
    return f"boxes: {', '.join(words)}" if words else ""


def say_notes(source: PredictedPlates, counts: Counts, found: Corrections) -> None:
    """Name what was left out or not counted, and edits that change no count."""
    field = source.fields.name
    say(source.calibration.words)
    say(source.calibration.interval_words)
    for note in counts.notes:
        say(f"note: {note}")
    for names, why in (
        (found.gone, "left out: no sample in the dataset any more"),
        (found.unwritten, f"left out: no predictions in {field}"),
        (found.other_edits, f"edited, but without another box or label; only the boxes of {field} count"),
        (list(found.unusable), "counted without boxes that have no area or no place; delete them in FiftyOne"),
    ):
        if names:
            say(f"note: {plural(len(names), 'photo is', 'photos are')} {why}: {name_some(sorted(names))}")
