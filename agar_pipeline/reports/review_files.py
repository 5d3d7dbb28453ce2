"""Writes the files of a review of labels: `suspects.parquet`, `review.json` and the page.

Here: calling and writing. Not here: finding suspects (`review.suspects`), the page (`review_page`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

REVIEW_FILES = ("suspects.parquet", "review.json", "report.html")
LEAST_ANNOTATED_IMAGES = 5
"""The interval comes from resampling images. Resamples of fewer images are nearly all alike, which would give an
interval that is too narrow."""


@dataclass(frozen=True)
class ReviewedPart:
    """Images that models of one kind predicted; parts with other models are reviewed apart."""

    name: str
    columns: CocoColumns
    """The images and their annotations."""
    detections: Detections
    """Detections of models that were not trained on them."""


def write_review(
    parts: Sequence[ReviewedPart],
    images_dir: Path,
    out_dir: Path,
    *,
    pictures: int,
    title: str,
    log: Log,
    cross_validation: Mapping[str, Any] | None = None,
) -> None:
    """Review the labels of some images, and write the files.

    `review.json` has images, annotations, suspects, and the estimated number of wrong labels with its 95 % interval (or
    null and the reason), in all (`wrong`), for each kind (`kinds`) and for each part (`parts`).

    Args:
        parts: At least one. How much a disagreement says about a label is learnt for each part alone.
        cross_validation: `cross_validation.json`, for the page; None if there is none.

    Raises:
        AnnotationError: a detection belongs to an image or category that the annotations do not list.
    """
    import pandas as pd

    from agar_pipeline.reports.review_page import estimate_in_words, write_review_page

    reviewed = [_review(part) for part in parts]
    table = pd.concat([of for of, _ in reviewed if len(of)] or [reviewed[0][0]], ignore_index=True)
    table = table.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    numbers = {"suspects": len(table), **_count(parts, [wrong for _, wrong in reviewed])}
    table.to_parquet(out_dir / "suspects.parquet", index=False)
    (out_dir / "review.json").write_text(json.dumps(numbers, indent=2))
    columns_of = {part.name: part.columns for part in parts}
    write_review_page(
        out_dir / "report.html", table, numbers, columns_of, images_dir, title, pictures, cross_validation
    )
    log(estimate_in_words(numbers))


def _review(part: ReviewedPart) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return the suspects of one part, and kind → number of wrong labels as `review.suspects.RankedSuspects` has it."""
    from agar_pipeline.review.reasons import explain
    from agar_pipeline.review.suspect_ids import identify
    from agar_pipeline.review.suspects import review_labels
    from agar_pipeline.scoring.average_precision import require_known_ids

    columns = part.columns
    require_known_ids(columns, part.detections)
    review = review_labels(columns, part.detections)
    names = dict(zip(columns.image_ids.tolist(), np.asarray(columns.file_names).tolist(), strict=True))
    table = review.suspects
    table.insert(1, "file_name", table["image_id"].map(names))
    table.insert(0, "suspect_id", identify(table))
    table.insert(1, "part", part.name)
    table["reason"] = explain(table, columns.names)
    return table, review.wrong


def _count(parts: Sequence[ReviewedPart], wrong: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Return the numbers of `review.json`; resamples of the parts are added, as they are independent."""
    of_parts = [np.sum(list(of.values()), axis=0) for of in wrong]
    return {
        "images": sum(len(part.columns.image_ids) for part in parts),
        "annotations": sum(int((~part.columns.iscrowd).sum()) for part in parts),
        "wrong": _estimate(np.sum(of_parts, axis=0), parts),
        "kinds": {kind: _estimate(np.sum([of[kind] for of in wrong], axis=0), parts) for kind in wrong[0]},
        "parts": {part.name: _estimate(of, [part]) for part, of in zip(parts, of_parts, strict=True)},
    }


def _estimate(values: np.ndarray, parts: Sequence[ReviewedPart]) -> dict[str, Any]:
    """The estimate, and the 95 % interval of its resamples (percentiles), or why there is none."""
    estimate = {"estimate": round(float(values[0]), 2)}
    annotated = sum(len(np.unique(part.columns.annotation_image_ids)) for part in parts)
    if annotated < LEAST_ANNOTATED_IMAGES:
        there = plural(annotated, "photo has", "photos have")
        return estimate | {"interval": None, "reason": f"{there} annotations, but {LEAST_ANNOTATED_IMAGES} are needed"}
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return estimate | {"interval": [round(float(low), 2), round(float(high), 2)]}
