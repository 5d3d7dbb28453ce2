"""The output of `agar predict` on the terminal: a table of counts, or COCO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agar_pipeline.commands.terminal import echo
from agar_pipeline.use_cases.count_files import count_rows, counts_as_coco

if TYPE_CHECKING:
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, PhotoModel


def print_counts(model: PhotoModel, counted: Sequence[PhotoCount], as_json: bool) -> None:
    """Print one line per image, or COCO with a count for each image."""
    if as_json:
        echo(json.dumps(counts_as_coco(model, counted)))
        return
    rows = count_rows(model, counted)
    width = max([len("image"), *(len(row["image"]) for row in rows)])
    names = [name for name in model.class_names if any(row[name] for row in rows)]
    echo(f"{'image':<{width}} {'colonies':>9}" + "".join(f"  {name:>10}" for name in names))
    for row in rows:
        echo(f"{row['image']:<{width}} {row['colonies']:>9}" + "".join(f"  {row[n]:>{max(10, len(n))}}" for n in names))
