"""The page of the evaluation: how good the detector is, and the plates on which it is worst.

Here: choosing and wording. Not here: computing metrics (`agar_pipeline.detection`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.errors import ImageFileError
from agar_pipeline.reports import plots
from agar_pipeline.reports.metric_words import cell, figure, reason_for, words_of
from agar_pipeline.reports.pictures import BoxLayer, draw_boxes, open_photo, to_data_uri
from agar_pipeline.reports.plate_counts import MATCH_IOU, PlateCount, choose_plates, count_plates
from agar_pipeline.reports.render import is_null, number, percent, plural, signed, write_page

DETECTION_FIGURES = ("map_50", "map", "map_75", "mar_max", "map_small", "map_medium", "map_large")
COUNTING_FIGURES = ("mae", "within_10_percent", "smape", "me")
PICTURE_SIDE_PX = 600
PICTURE_BYTES = 150_000


def write_evaluation_page(
    path: Path,
    metrics: dict[str, Any],
    columns: CocoColumns,
    predictions: list[dict[str, Any]],
    images_dir: Path,
    title: str,
    pictures: int,
    score_threshold: float,
) -> None:
    """Write the page of an evaluation.

    Args:
        path: The HTML file.
        metrics: As in metrics.json.
        columns: The COCO file that was evaluated.
        predictions: COCO results.
        images_dir: What `file_name` is relative to.
        title: Heading of the page.
        pictures: Plates drawn, the worst ones and some ordinary ones.
        score_threshold: Lowest score of a prediction that counts as a colony.
    """
    plates = count_plates(columns, predictions, score_threshold)
    worst, ordinary = choose_plates(plates, pictures)
    reasons = metrics.get("reasons") or {}
    counting = metrics.get("counting") or {}
    class_columns, class_rows = _table(metrics.get("per_class") or {}, "per_class", reasons)
    density_columns, density_rows = _table(counting.get("per_density") or {}, "per_density", reasons)
    values = {
        "title": title,
        "headline": _headline(counting, metrics),
        "subline": _subline(counting, metrics),
        "counting_figures": _counting_figures(counting, reasons),
        "detection_figures": _detection_figures(metrics, reasons),
        "class_columns": class_columns,
        "class_rows": class_rows,
        "density_columns": density_columns,
        "density_rows": density_rows,
        "plots": _plots(plates, counting),
        "threshold_words": _threshold_words(metrics, score_threshold),
        "match_iou": MATCH_IOU,
        "worst": [_pictures(plate, images_dir) for plate in worst],
        "ordinary": [_pictures(plate, images_dir) for plate in ordinary],
    }
    write_page(path, "evaluation.html.j2", values)


def _headline(counting: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    if not is_null(counting.get("mae")):
        error = float(counting["mae"])
        return f"On average, the count of a plate is off by {number(error)} {'colony' if error == 1 else 'colonies'}."
    map_50 = metrics.get("map_50")
    return "The detector could not be scored." if is_null(map_50) else f"mAP@50 is {float(map_50 or 0):.3f}."


def _subline(counting: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    images, annotations = int(metrics["num_images"]), int(metrics["num_annotations"])
    sentences = [
        f"Held against {plural(annotations, 'annotated box', 'annotated boxes')} on {plural(images, 'plate')}."
    ]
    if not is_null(counting.get("within_10_percent")):
        sentences.append(
            f"{percent(counting['within_10_percent'])} of the plates are within 10 % of the annotated count."
        )
    bias = counting.get("me")
    if bias is not None and not is_null(bias) and abs(bias) >= 0.05:
        sentences.append(f"It tends to count too {'many' if bias > 0 else 'few'} ({signed(bias)} per plate).")
    return " ".join(sentences)


def _counting_figures(counting: Mapping[str, Any], reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        figure(name, counting.get(name), reason_for(reasons, name, f"counting.{name}", "counting"))
        for name in COUNTING_FIGURES
    ]


def _detection_figures(metrics: Mapping[str, Any], reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    figures = {name: figure(name, metrics.get(name), reason_for(reasons, name)) for name in DETECTION_FIGURES}
    if (most := metrics.get("max_detections")) is not None:
        figures["mar_max"]["words"] += f" At most {number(most)} boxes a plate."
    return list(figures.values())


def _table(
    table: Mapping[str, Mapping[str, Any]], where: str, reasons: Mapping[str, str]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Titles and rows of a table of metrics, whatever metrics it has."""
    metrics = list(dict.fromkeys(metric for row in table.values() for metric in row))
    rows = []
    for name, row in table.items():
        cells = []
        for metric in metrics:
            keys = (
                f"{where}.{name}.{metric}",
                f"{where}.{name}",
                f"{name}.{metric}",
                f"counting.{where}.{name}.{metric}",
            )
            reason = next((reasons[key] for key in keys if reasons.get(key)), "")
            cells.append(cell(metric, row.get(metric), reason))
        rows.append({"name": name, "cells": cells})
    return [words_of(metric).title for metric in metrics], rows


def _plots(plates: Sequence[PlateCount], counting: Mapping[str, Any]) -> list[dict[str, str]]:
    true_counts = np.array([len(plate.truth_xywh) for plate in plates], dtype=np.float64)
    predicted_counts = np.array([len(plate.predicted_xywh) for plate in plates], dtype=np.float64)
    made = [
        {
            "uri": plots.scatter_counts(true_counts, predicted_counts),
            "title": "Counted against annotated",
            "words": "One point per plate. Above the line the model counts too many, below it too few.",
        }
    ]
    errors = {name: row.get("mae") for name, row in (counting.get("per_density") or {}).items()}
    if any(not is_null(error) for error in errors.values()):
        made.append(
            {
                "uri": plots.columns(errors, "annotated colonies on the plate", "mean count error"),
                "title": "Count error by density",
                "words": "Colonies that the count is off by, on average, on sparse and on crowded plates.",
            }
        )
    return made


def _threshold_words(metrics: Mapping[str, Any], score_threshold: float) -> str:
    recorded = metrics.get("score_threshold")
    chosen_on = recorded.get("chosen_on") if isinstance(recorded, Mapping) else None
    sentences = [f"A prediction counts as a colony from a score of {score_threshold:.3g} on."]
    if chosen_on == "these images":
        sentences.append("The value was chosen on these very images, so the counts look a little better than they are.")
    elif chosen_on:
        sentences.append(f"The value was chosen on {chosen_on}.")
    sentences.append("mAP and recall look at all scores; counts and pictures only at those above the threshold.")
    return " ".join(sentences)


def _pictures(plate: PlateCount, images_dir: Path) -> dict[str, Any]:
    """What the template needs: the plate twice, with what was annotated and what was predicted."""
    item: dict[str, Any] = {
        "image_id": plate.image_id,
        "file_name": plate.file_name,
        "true_count": len(plate.truth_xywh),
        "predicted_count": len(plate.predicted_xywh),
        "error": plate.error,
        "missed": int((~plate.found).sum()),
        "extra": int((~plate.right).sum()),
        "note": "",
    }
    truth = [BoxLayer(plate.truth_xywh[plate.found], "truth"), BoxLayer(plate.truth_xywh[~plate.found], "wrong")]
    predicted = [
        BoxLayer(plate.predicted_xywh[plate.right], "prediction"),
        BoxLayer(plate.predicted_xywh[~plate.right], "wrong"),
    ]
    try:
        photo, scale = open_photo(Path(images_dir) / plate.file_name, PICTURE_SIDE_PX)
    except ImageFileError as error:
        return item | {"note": f"No picture: {error}"}
    return item | {
        "truth_uri": to_data_uri(draw_boxes(photo, scale, truth), PICTURE_BYTES),
        "predicted_uri": to_data_uri(draw_boxes(photo, scale, predicted), PICTURE_BYTES),
    }
