"""`agar count`: the counts of an evaluation, as predicted or as a person corrected them in FiftyOne."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agar_pipeline.commands.terminal import say
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command

if TYPE_CHECKING:
    from agar_pipeline.counting.sheet import Sheet
    from agar_pipeline.use_cases.corrected_counts import CountedLabels, Counts
    from agar_pipeline.use_cases.corrections import Corrections
    from agar_pipeline.use_cases.predicted_plates import PredictedPlates

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("count", epilog="Example: agar count --experiment demo --out-dir counts")
@click.option("--corrected", is_flag=True, help="Count the boxes as they are in FiftyOne now, after agar view.")
@click.option("--experiment", help="Count its current evaluation; not needed if there is only one.")
@click.option("--run", "word", help="Fingerprint of an evaluation or training, its first letters, or a folder.")
@click.option("--counted", metavar="FOLDER", help="Count what agar predict --out-dir wrote; or a dataset made of it.")
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Write counts.csv.")
@click.option("--sheet", type=_FILE, help="CSV of a dilution series, see below: computes CFU/ml.")
@click.option("--export", type=_FILE, help="With --corrected: write the corrected plates as COCO annotations.")
@click.option("--all", "all_plates", is_flag=True, help="With --export: also the plates that nobody corrected.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts of all plates as JSON.")
def command(
    corrected: bool,
    experiment: str | None,
    word: str | None,
    counted: str | None,
    out_dir: Path | None,
    sheet: Path | None,
    export: Path | None,
    all_plates: bool,
    as_json: bool,
) -> None:
    """Count the colonies of each evaluated plate, or of each photo that agar predict counted.

    With --corrected, the boxes that a person added, removed, moved or relabelled in FiftyOne are counted as they are
    now, and the plates are marked. A corrected count was made by a person, so it has no interval. The database is only
    read.

    \b
    The file for --sheet has one line for each plate; volume_ml is what was plated:
      photo,sample,dilution,volume_ml
      1.jpg,milk,1e-2,0.1
      2.jpg,milk,1e-3,0.1
    """  # noqa: D301 - click reads this backspace as "keep the lines"
    if sum(given is not None for given in (experiment, word, counted)) > 1:
        raise click.UsageError("give only one of --experiment, --run and --counted")
    if (export and not corrected) or (all_plates and not export):
        raise click.UsageError("--export can only be used with --corrected, and --all only with --export")
    if sheet and not out_dir:
        raise click.UsageError("--sheet needs --out-dir, into which samples.csv and samples.html are written")
    from agar_pipeline.commands.count_words import print_counts, say_notes
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.corrected_counts import CountedLabels, count_plates
    from agar_pipeline.use_cases.corrected_samples import read_sheet_of
    from agar_pipeline.use_cases.corrections import as_predicted, read_corrections

    home, database = agar_home(), load_pipeline().database
    source = _source(experiment or word, counted, corrected, home, database)
    plates = None if sheet is None else read_sheet_of(sheet, source)
    found = read_corrections(source, database, home) if corrected else as_predicted(source)
    labels = CountedLabels(found.plates, list(source.categories), source.counted)
    counts = count_plates(found, labels, source.calibration)
    print_counts(counts, found, corrected=corrected, as_json=as_json)
    say_notes(source, counts, found)
    if export is not None:
        _export(source, found, export, all_plates)
    if out_dir is not None:
        _write(source, found, counts, labels, out_dir, plates, as_json=as_json)
    if not corrected:
        given = {"--experiment": experiment, "--run": word, "--counted": counted}
        again = [part for option, value in given.items() if value is not None for part in (option, value)]
        after = as_command("agar", "count", "--corrected", *again)
        say(f"next: {source.writer}, correct the boxes in FiftyOne, then {after}")


def _write(
    source: PredictedPlates,
    found: Corrections,
    counts: Counts,
    labels: CountedLabels,
    out_dir: Path,
    sheet: Sheet | None,
    *,
    as_json: bool,
) -> None:
    from agar_pipeline.commands.sample_words import print_samples
    from agar_pipeline.ownership.folders import OwnFolder
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.use_cases.corrected_counts import COUNTS, PURPOSE, write_counts
    from agar_pipeline.use_cases.corrected_samples import counted_by, samples_of
    from agar_pipeline.use_cases.sample_files import SAMPLE_FILES, write_samples

    folder = OwnFolder(out_dir, PURPOSE, Originals([*source.photos, *([sheet.path] if sheet else [])]))
    if sheet is None:
        write_counts(counts, labels.class_names, folder)
        say(f"look at {out_dir / COUNTS}")
        return
    countable = source.calibration.countable
    samples = samples_of(sheet, source, found, counts, labels, countable)
    folder.require_writable([COUNTS, *SAMPLE_FILES])
    write_counts(counts, labels.class_names, folder)
    write_samples(samples, folder, countable, counted_by(source, samples))
    if not as_json:
        print_samples(samples)
    for note in sheet.notes:
        say(f"note: {note}")
    say(f"look at {out_dir}: {COUNTS}, {' and '.join(SAMPLE_FILES)}")


def _source(word: str | None, counted: str | None, corrected: bool, home: Path, database: str) -> PredictedPlates:
    if counted is not None:
        from agar_pipeline.use_cases.counted_folder import open_counted

        return open_counted(counted, database, home, corrected=corrected)
    from agar_pipeline.commands.experiment import choose_evaluation
    from agar_pipeline.store import Store
    from agar_pipeline.use_cases.predicted_plates import read_evaluated

    store = Store(home)
    return read_evaluated(store, choose_evaluation(store, word), say)


def _export(source: PredictedPlates, found: Corrections, path: Path, all_plates: bool) -> None:
    from agar_pipeline.errors import DatasetError
    from agar_pipeline.use_cases.corrected_counts import write_annotations

    plates = [plate for plate in found.plates if all_plates or plate.is_corrected]
    if not plates:
        raise DatasetError(
            f"has no box of {source.fields.name} that a person corrected, so there is nothing to export",
            where=f"dataset {source.dataset!r}",
            next_step="correct boxes in FiftyOne, or add --all, which exports all plates",
        )
    images, boxes = write_annotations(source, plates, path)
    say(f"wrote {plural(boxes, 'box', 'boxes')} on {plural(images, 'plate')} into {path}")
    where = as_command("--images-dir", source.images_dir, "--annotations", path)
    say(f"next: agar import coco {where} --dataset NAME")
