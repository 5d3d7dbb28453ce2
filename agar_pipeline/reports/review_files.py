"""Writes the files of a review of labels: `suspects.parquet`, `review.json` and the page.

Here: calling and writing. Not here: finding suspects (`review.suspects`), the page (`review_page`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections

if TYPE_CHECKING:
    import pandas as pd

REVIEW_FILES = ("suspects.parquet", "review.json", "report.html")


def write_review(
    columns: CocoColumns,
    detections: Detections,
    images_dir: Path,
    out_dir: Path,
    *,
    pictures: int,
    title: str,
    log: Callable[[str], None],
) -> pd.DataFrame:
    """Review the labels of some images, and write the files.

    Args:
        columns: The images and their annotations.
        detections: Detections of a model that was not trained on them.
        images_dir: Folder of the images, for the pictures.
        out_dir: Receives the files.
        pictures: Number of suspects drawn.
        title: Title of the page.
        log: Receives the result.

    Returns:
        The suspects, as in `suspects.parquet`.

    Raises:
        AnnotationError: a detection belongs to an image or category that the annotations do not list.
    """
    from agar_pipeline.reports.review_page import write_review_page

    table, numbers = find_suspects(columns, detections, log)
    table.to_parquet(out_dir / "suspects.parquet", index=False)
    (out_dir / "review.json").write_text(json.dumps(numbers, indent=2))
    write_review_page(out_dir / "report.html", table, numbers, columns, images_dir, title, pictures)
    return table


def find_suspects(
    columns: CocoColumns, detections: Detections, log: Callable[[str], None]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Review the labels of some images; arguments and errors as in `write_review`.

    Returns:
        The suspects with their names, photos and reasons; and the content of `review.json`: images, annotations,
        suspects, and the estimated number of wrong labels with its 95 % interval, in all (`wrong`) and for each kind
        (`kinds`).
    """
    from agar_pipeline.review.reasons import explain
    from agar_pipeline.review.suspect_ids import identify
    from agar_pipeline.review.suspects import review_labels
    from agar_pipeline.scoring.average_precision import require_known_ids

    require_known_ids(columns, detections)
    review = review_labels(columns, detections)
    names = dict(zip(columns.image_ids.tolist(), np.asarray(columns.file_names).tolist(), strict=True))
    table = review.suspects
    table.insert(1, "file_name", table["image_id"].map(names))
    table.insert(0, "suspect_id", identify(table))
    table["reason"] = explain(table, columns.names)
    wrong = _estimate(np.sum(list(review.wrong.values()), axis=0))
    numbers: dict[str, Any] = {
        "images": len(columns.image_ids),
        "annotations": int((~columns.iscrowd).sum()),
        "suspects": len(table),
        "wrong": wrong,
        "kinds": {kind: _estimate(of) for kind, of in review.wrong.items()},
    }
    low, high = wrong["interval"]
    log(
        f"about {wrong['estimate']:.0f} labels are wrong or missing (95 % interval: {low:.0f} to {high:.0f}); "
        f"{numbers['annotations']} are annotated"
    )
    return table, numbers


def _estimate(values: np.ndarray) -> dict[str, Any]:
    """The estimate, and the 95 % interval of its resamples (percentiles)."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"estimate": round(float(values[0]), 2), "interval": [round(float(low), 2), round(float(high), 2)]}
