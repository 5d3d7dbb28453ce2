"""Converts the options of `agar export-coco` to configs, runs the export, and prints the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agar_pipeline.commands.pipelines import pipeline_of
from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.config import DRAWN, SnapshotConfig, SplitConfig, agar_home, from_plain, load_pipeline
from agar_pipeline.errors import ConfigError, read_by_a_user_of_options
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import as_command
from agar_pipeline.use_cases.export import Exported, ExportMedia, export_coco

_PARTS = ("train", "val", "test")
_WHERE = "agar export-coco"


def export_as_asked(out_dir: Path, classes: tuple[str, ...], given: Mapping[str, Any]) -> Exported:
    """Export; errors name the options of the command in place of keys of a pipeline file."""
    with read_by_a_user_of_options():
        own, unlabelled = ExportMedia(given["media"], given["max_side"]), given["unlabelled"]
        return export_coco(
            snapshot_config(given), split_config(given), classes, out_dir, agar_home(), say, own, unlabelled
        )


def snapshot_config(given: Mapping[str, Any]) -> SnapshotConfig:
    """Return what to read: the options, else the pipeline file of the dataset if there is one, else the defaults."""
    pipeline = pipeline_of(given["dataset"])
    plain: dict[str, Any] = {"dataset": given["dataset"], "database": load_pipeline().database}
    if pipeline is not None:
        names = ("database", "label_field", "images_dir", "exif")
        plain |= {name: getattr(pipeline.fiftyone_snapshot, name) for name in names}
    plain |= {name: given[name] for name in ("database", "label_field", "view", "exif") if given[name] is not None}
    return from_plain(SnapshotConfig, plain, where=_WHERE)


def split_config(given: Mapping[str, Any]) -> SplitConfig:
    """Return how to split; the method follows from the given views, lists or field, unless it is named."""
    views = {part: given[f"{part}_view"] for part in _PARTS if given[f"{part}_view"]}
    lists = {part: str(Path(given[f"{part}_list"]).absolute()) for part in _PARTS if given[f"{part}_list"]}
    implied = "tags" if views else "lists" if lists else "field" if given["split_field"] else "random"
    method = given["split_method"] or implied
    drawn = {name: given[name] for name in ("seed", "group_by", "stratify_by") if given[name] is not None}
    if given["fractions"]:
        drawn["fractions"] = dict(zip(_PARTS, given["fractions"], strict=False))
        if len(given["fractions"]) > len(_PARTS):
            raise ConfigError(
                f"has {len(given['fractions'])} shares, but a split has at most three parts",
                where="--fractions",
                next_step="give the shares of train, val and, if you want it, test",
            )
    if method not in DRAWN and drawn:
        raise ConfigError(
            f"cannot be used with the split method {method}",
            where=", ".join(f"--{name}" for name in drawn).replace("_", "-"),
            next_step="leave these options out",
        )
    plain = {"method": method, "views": views, "lists": lists, "field": given["split_field"], **drawn}
    values = dict(_value_and_part(word) for word in given["field_values"])
    return from_plain(SplitConfig, {**plain, "values": values, "unassigned": "leave_out"}, where=_WHERE)


def _value_and_part(word: str) -> tuple[str, str]:
    value, equals, part = word.rpartition("=")
    if not equals or part not in _PARTS:
        raise ConfigError(
            "is not of the form VALUE=PART",
            where="--field-values",
            value=repr(word),
            next_step="write VALUE=PART, as in lower=train; the parts are train, val and test",
        )
    return value, part


def print_export(exported: Exported, as_json: bool) -> None:
    """Print what was written and what was not, and the next step."""
    for note in exported.notes:
        say(f"note: {note}")
    for name in exported.absent:
        say(f"note: there is no box of the class {name!r}")
    paths = {part: str(path) for part, path in exported.json_paths.items()}
    images_dir = str(exported.images_dir)
    if as_json:
        plain = {"files": paths, "counts": exported.counts, "images_dir": images_dir, "classes": exported.class_names}
        echo(json.dumps({**plain, "left_out": exported.left_out}, indent=1))
        return
    for part, path in paths.items():
        counts = exported.counts[part]
        echo(f"{path}: {plural(counts['images'], 'image')}, {plural(counts['annotations'], 'box', 'boxes')}")
    echo(f"{plural(len(exported.class_names), 'class', 'classes')}: {', '.join(exported.class_names)}")
    echo(f"the photos are in {images_dir}")
    echo(f"next: {as_command('agar', 'inspect-coco', '--json', paths['train'], '--images-dir', images_dir)}")
