"""The output of `agar predict` on the terminal: a table of counts, or COCO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agar_pipeline.commands.sample_words import print_samples
from agar_pipeline.commands.terminal import echo
from agar_pipeline.use_cases.count_files import count_rows, counts_as_coco
from agar_pipeline.use_cases.sample_files import sample_rows

if TYPE_CHECKING:
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.counting.samples import Sample
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, PhotoModel


def print_counts(
    model: PhotoModel,
    counted: Sequence[PhotoCount],
    calibration: Calibration,
    samples: Sequence[Sample],
    as_json: bool,
) -> None:
    """Print one line per image and per sample, or COCO with a count for each image, and the samples."""
    if as_json:
        coco = counts_as_coco(model, counted, calibration)
        echo(json.dumps(coco | ({"samples": sample_rows(samples)} if samples else {})))
        return
    rule, rows = calibration.rule, count_rows(model, counted)
    width = max([len("image"), *(len(row["image"]) for row in rows)])
    found = [name for name in model.class_names if any(row[name] for row in rows)]
    names = sorted(found, key=lambda name: not rule.counts(name))
    titles = {name: name if rule.counts(name) else f"{name} (not counted)" for name in names}
    counts = [_count_words(row) for row in rows]
    wide = max([9, *map(len, counts)])
    echo(f"{'image':<{width}} {'colonies':>{wide}}" + "".join(f"  {titles[name]:>10}" for name in names))
    for row, count in zip(rows, counts, strict=True):
        found_there = "".join(f"  {row[name]:>{max(10, len(titles[name]))}}" for name in names)
        echo(f"{row['image']:<{width}} {count:>{wide}}{found_there}")
    if samples:
        echo("")
        print_samples(samples)


def _count_words(row: Mapping[str, Any]) -> str:
    """Return `27 (24–30)`, or the count alone where it has no interval."""
    return f"{row['colonies']}" if row["low"] is None else f"{row['colonies']} ({row['low']}–{row['high']})"
