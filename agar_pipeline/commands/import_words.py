"""Runs `agar import`: finds the pipeline file that reads the dataset, imports, and prints the result."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from agar_pipeline.commands.database_options import require_no_password
from agar_pipeline.commands.pipelines import free_name, pipeline_named, pipeline_of, spell_views, write_pipeline
from agar_pipeline.commands.terminal import echo, progress_bar, say
from agar_pipeline.config import (
    Part,
    PipelineConfig,
    UnlabelledPolicy,
    agar_home,
    class_map_of,
    load_pipeline,
    pipeline_name,
    tell_alike,
)
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command

if TYPE_CHECKING:
    from agar_pipeline.fiftyone_io.importing.counts import ImportCounts

_SHOWN = 10
_NAMES_AND_NUMBERS = re.compile(r"'[^']*'|\S*[/\\]\S*|[-+]?\d+(?:[.,]\d+)*")


def import_and_report(
    format: Any,
    images_dir: Path,
    dataset: str,
    database: str | None,
    as_json: bool,
    migrate_database: bool,
    pipeline_file: str | None = None,
    annotations: Path | None = None,
    training_lists: Path | None = None,
    overwrite: bool = False,
    exif: Any = "displayed",
    unlabelled: UnlabelledPolicy = "leave_out",
) -> None:
    """Import, print the result, and exit with 1 if something was broken or has to be imported again."""
    from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
    from agar_pipeline.fiftyone_io.importing.import_images import import_images

    require_no_password(database, pipeline_file)
    pipeline = pipeline_named(pipeline_file, dataset) if pipeline_file else pipeline_of(dataset)
    source = ImportSource(
        format,
        str(images_dir.resolve()),
        str(annotations) if annotations else None,
        str(training_lists) if training_lists else None,
        pipeline.class_map if pipeline else {},
        exif,
        unlabelled,
    )
    if database is None:
        database = pipeline.database if pipeline else "embedded" if pipeline_file else load_pipeline().database
    with progress_bar("importing") as progress:
        counts = import_images(
            source, dataset, database, agar_home(), say, progress, migrate=migrate_database, overwrite=overwrite
        )
    if pipeline_file and pipeline is None:
        pipeline = _write_new(pipeline_file, dataset, database, counts)
    _say_what_was_left_out(counts, pipeline)
    say_what_was_kept(counts)
    if as_json:
        echo(json.dumps({"dataset": dataset, "images": counts.images, **asdict(counts)}, indent=1))
    else:
        _print(dataset, counts)
        echo(f"next: {_next_step(dataset, database, counts, pipeline, pipeline_file)}")
    if counts.problems or counts.changed_meanwhile:
        raise click.exceptions.Exit(1)


def _write_new(pipeline_file: str, dataset: str, database: str, counts: ImportCounts) -> PipelineConfig | None:
    """Write and load the pipeline file of a new dataset; None if there is no class that it could name."""
    if not counts.classes:
        say(f"note: configs/pipeline/{pipeline_file}.yaml is not written, because no box has a label")
        return None
    for path in write_pipeline(pipeline_file, dataset, database, counts.classes, given_parts(counts)):
        say(f"wrote {path}: read it, and edit it as you need")
    return load_pipeline(pipeline_file)


def _print(dataset: str, counts: ImportCounts) -> None:
    classes = name_some([f"{label} {count:,}" for label, count in sorted(counts.classes.items())], _SHOWN)
    echo(
        f"{dataset}: {plural(counts.images, 'image')}, {plural(counts.boxes, 'box', 'boxes')}, "
        + plural(len(counts.classes), "class", "classes")
        + (f" ({classes})" if classes else "")
    )
    moved = f"; {counts.moved} of them found at a new place" if counts.moved else ""
    echo(f"{counts.added} added, {counts.updated} updated, {counts.unchanged} unchanged{moved}")
    for each in counts.lists:
        echo(f"tag {each['tag']}: {each['tagged']} of {plural(each['entries'], 'listed image')}")


def _say_what_was_left_out(counts: ImportCounts, pipeline: PipelineConfig | None) -> None:
    if counts.uncountable:
        say(
            f"note: {plural(counts.uncountable, 'uncountable image is', 'uncountable images are')} left out, "
            f"{counts.removed} of them removed from the dataset"
        )
    for sentence in counts.passed_over:
        say(f"note: {sentence}")
    _say_names(
        "images of an earlier import are not on disk any more; delete their samples, or put the images back",
        counts.vanished,
    )
    _say_names(
        "images without annotation, or marked as not done, are left out; "
        "`--unlabelled keep` imports them without labels",
        counts.images_without_annotation,
    )
    _say_names(
        "images without annotation are in the dataset from an earlier import, and stay as they are there; "
        "`--unlabelled keep` removes their labels",
        counts.formerly_annotated,
    )
    if counts.unlabelled:
        images = plural(counts.unlabelled, "image has", "images have")
        say(f"note: {images} no labels yet; `unlabelled:` of the pipeline file says what happens")
    if counts.crowds:
        say(
            "note: regions of many objects (iscrowd), which are neither learnt nor scored: "
            f"{counts.crowds:,} of {plural(counts.boxes, 'box', 'boxes')}"
        )
    _say_names("annotations have no image", counts.annotations_without_image)
    _say_names(
        "plates have another number of labels than their colonies_number says; check whether labels are missing",
        counts.miscounted,
    )
    for each in counts.lists:
        _say_names(f"entries of {each['tag']} are uncountable images, which are left out", each["left_out"])
        _say_names(f"entries of {each['tag']} name no image of this folder", each["unknown"])
        _say_names(f"entries of {each['tag']} fit several images, none of which is tagged", each["ambiguous"])
    for note in counts.notes:
        say(f"note: {note}")
    _say_given_parts(counts, pipeline)
    _say_what_labels_mean(counts, pipeline)
    say_problems(counts.problems)


def _say_given_parts(counts: ImportCounts, pipeline: PipelineConfig | None) -> None:
    if (parts := given_parts(counts)) and (pipeline is None or pipeline.split.method != "tags"):
        say(
            "note: the files name the parts of a split; use them in the pipeline file: "
            f"`split: {{method: tags, views: {{{spell_views(parts)}}}}}`"
        )


def say_problems(problems: list[str]) -> None:
    """Print one line per cause: problems that differ only in names and numbers are grouped."""
    alike: dict[str, list[str]] = {}
    for problem in problems:
        alike.setdefault(_NAMES_AND_NUMBERS.sub("…", problem), []).append(problem)
    for first, *others in list(alike.values())[:_SHOWN]:
        say(f"broken: {first}" + (f" (and {len(others)} more like it; --json lists them)" if others else ""))
    if len(alike) > _SHOWN:
        say(f"broken: and {sum(map(len, list(alike.values())[_SHOWN:]))} more; --json lists them all")


def given_parts(counts: ImportCounts) -> set[str]:
    """Return the parts (tags train, val, test) that the imported files name; empty unless they cover all images."""
    tagged = {each["tag"]: each["tagged"] for each in counts.lists if each["tag"] in get_args(Part) and each["tagged"]}
    return set(tagged) if {"train", "val"} <= set(tagged) and sum(tagged.values()) == counts.images else set()


def _say_what_labels_mean(counts: ImportCounts, pipeline: PipelineConfig | None) -> None:
    for label, name in sorted(counts.renamed.items()):
        say(f"note: label {label!r} is imported as the class {name!r}")
    if pipeline is None or not counts.unknown_labels:
        for sentence in tell_alike(counts.classes):
            say(f"note: {sentence}")
        return
    match = pipeline.coco_cache.spellings.match(counts.classes)
    for label, count in sorted(counts.unknown_labels.items())[:_SHOWN]:
        unknown = f"{plural(count, 'box', 'boxes')}: {match.explain_unknown(label)}"
        say(f"note: {unknown}, is not in the class map of configs/pipeline/{pipeline.name}.yaml")


def say_what_was_kept(counts: ImportCounts) -> None:
    """Print which values the import did not overwrite, and how to overwrite them."""
    from agar_pipeline.fiftyone_io.importing.counts import KEPT, OVERWRITTEN

    for why, filepaths in counts.kept.items():
        _say_names(KEPT[why], filepaths)
    if counts.kept.keys() & OVERWRITTEN:
        say("note: `agar import … --overwrite` replaces what was kept by the annotations, and cannot be undone")
    _say_names("samples had labels that a person made or changed, which --overwrite has replaced", counts.overwritten)
    _say_names("samples changed during the import and were not written; run the import again", counts.changed_meanwhile)


def _say_names(what: str, names: list[str]) -> None:
    if names:
        say(f"note: {what}: {len(names)} ({name_some(names, _SHOWN)})")


def _run_with(pipeline: str) -> str:
    return "agar run" if pipeline == pipeline_name() else f"AGAR_PIPELINE={as_command(pipeline)} agar run"


def _next_step(
    dataset: str, database: str, counts: ImportCounts, pipeline: PipelineConfig | None, asked_for: str | None = None
) -> str:
    """Return the next command; `asked_for` is the name of a pipeline file that could not be written yet."""
    if pipeline is not None:
        return _run_with(pipeline.name)
    name = asked_for or free_name(dataset)
    if not counts.classes:
        return (
            f"annotate the files, then import again with --pipeline {name}: no box has a label yet\n"
            f"  or annotate in FiftyOne, and list the labels as classes of configs/pipeline/{name}.yaml yourself"
        )
    snapshot = {"dataset": dataset} | ({} if database == "embedded" else {"database": database})
    return (
        f"write configs/pipeline/{name}.yaml (or import again with --pipeline {name}), then {_run_with(name)}\n"
        f"  snapshot: {_in_yaml(snapshot)}\n  class_map: {_in_yaml(class_map_of(sorted(counts.classes)))}"
    )


def _in_yaml(mapping: Mapping[str, str | int]) -> str:
    return json.dumps(mapping, ensure_ascii=False)
