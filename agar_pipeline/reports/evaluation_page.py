"""The page of the evaluation: metrics, kinds of errors, and the images with the largest errors.

Here: choosing and wording. Not here: computing metrics (`scoring`), drawing images (`plate_pictures`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.reports import evaluation_plots, plots
from agar_pipeline.reports.counting_section import interval_words, threshold_plots, threshold_words
from agar_pipeline.reports.footnotes import number_reasons
from agar_pipeline.reports.literature import PUBLISHED, compare_protocol
from agar_pipeline.reports.metric_words import KIND_WORDS, cell, figure, reason_for, words_of
from agar_pipeline.reports.number_formats import is_null, number, percent, signed
from agar_pipeline.reports.plate_pictures import draw_plate, row_of_plates
from agar_pipeline.reports.render import write_page
from agar_pipeline.reports.shown_plates import ScoredPlate, choose_plates, group_by_plate
from agar_pipeline.scoring.score import Scored
from agar_pipeline.text.plurals import plural

DETECTION_FIGURES = ("map_50", "map", "map_75", "mar_max", "map_small", "map_medium", "map_large")
PLATES_IN_A_ROW = 4
WORST_ROW = "Worst plates: annotated boxes dashed, predicted ones solid, missed and false ones red"
COUNTING_FIGURES = ("mae", "within_10_percent", "smape", "me", "r2")


def write_evaluation_page(
    path: Path, scored: Scored, images_dir: Path, title: str, pictures: int, warning: str | None = None
) -> dict[str, str]:
    """Write the page of an evaluation; return the pictures that the web UI shows, title → data URI.

    Args:
        scored: The detections, their matches and metrics.
        images_dir: Folder that `file_name` is relative to.
        pictures: Number of images drawn: the worst ones, and some from the middle of the ranking.
        warning: Why this model should not be used for counting, in lines; shown at the top.
    """
    metrics, counting = scored.metrics, scored.metrics["counting"]
    reasons: dict[str, str] = metrics["reasons"]
    plates = group_by_plate(scored)
    worst, ordinary = choose_plates(plates, pictures)
    count_plots = _count_plots(plates, counting)
    recall_curves = metrics["precision_recall"]
    recall_plot = evaluation_plots.precision_recall(recall_curves) if any(recall_curves.values()) else ""
    counting_figures = _figures(COUNTING_FIGURES, counting, metrics["confidence"], reasons, "counting.")
    detection_figures = _figures(DETECTION_FIGURES, metrics, metrics["confidence"], reasons, "")
    comparable, protocol = compare_protocol(scored.columns.class_names, metrics["num_images"])
    values = {
        "title": title,
        "warning": [line[:1].upper() + line[1:] + "." for line in (warning or "").splitlines()],
        "headline": _headline(counting, metrics),
        "subline": _subline(counting, metrics),
        "counting_figures": counting_figures,
        "detection_figures": detection_figures,
        "figure_notes": number_reasons([*counting_figures, *detection_figures]),
        "most_boxes": metrics["max_detections"],
        "class_table": _table(_by_class(metrics), ("per_class", "counting.per_class"), reasons),
        "density_table": _table(counting["per_density"], ("counting.per_density",), reasons),
        "empty_plates": _empty_plates_words(counting["empty_plates"]),
        "count_plots": count_plots,
        "recall_plot": recall_plot,
        "confusion": _confusion(metrics["confusion"], known=not scored.counted.why_uncounted(scored.rule.least_of_all)),
        "errors": _errors(metrics["errors"]),
        "unscored": reasons.get("map_50"),
        "left_out": scored.counted.what_was_left_out,
        "interval_words": interval_words(metrics),
        "threshold_words": threshold_words(metrics, scored.rule),
        "threshold_plots": threshold_plots(metrics, scored.rule),
        "kinds": [{"kind": kind, "name": name, "words": words} for kind, (name, words) in KIND_WORDS.items()],
        "worst": [draw_plate(plate, images_dir) for plate in worst],
        "ordinary": [draw_plate(plate, images_dir) for plate in ordinary],
        "published": PUBLISHED if comparable else (),
        "protocol": protocol,
        "own_map": metrics["map"],
        "own_mae": counting["mae"],
    }
    write_page(path, "evaluation.html.j2", values)
    row = {WORST_ROW: row_of_plates(worst[:PLATES_IN_A_ROW], images_dir)}
    counts = {plot["title"]: plot["uri"] for plot in count_plots[:1]}
    shown = row | counts | {"Precision over recall": recall_plot}
    return {title: uri for title, uri in shown.items() if uri}


def _headline(counting: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    if not is_null(counting.get("mae")):
        error = float(counting["mae"])
        return f"On average, the count of a plate is off by {number(error)} {'colony' if error == 1 else 'colonies'}."
    map_50 = metrics.get("map_50")
    return "The detector could not be scored." if is_null(map_50) else f"mAP@50 is {float(map_50 or 0):.3f}."


def _subline(counting: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    images, annotations = int(metrics["num_images"]), int(metrics["num_annotations"])
    sentences = [
        f"Compared with {plural(annotations, 'annotated box', 'annotated boxes')} on {plural(images, 'plate')}."
    ]
    if not is_null(counting.get("within_10_percent")):
        sentences.append(
            f"{percent(counting['within_10_percent'])} of the plates are within 10 % of the annotated count."
        )
    bias = counting.get("me")
    if bias is not None and not is_null(bias) and abs(bias) >= 0.05:
        sentences.append(f"It tends to count too {'many' if bias > 0 else 'few'} ({signed(bias)} per plate).")
    return " ".join(sentences)


def _figures(
    names: Sequence[str],
    values: Mapping[str, Any],
    confidence: Mapping[str, Any],
    reasons: Mapping[str, str],
    prefix: str,
) -> list[dict[str, Any]]:
    """Return the headline figures, each with its 95 % interval if one was computed."""
    figures = []
    for name in names:
        item = figure(name, values.get(name), reason_for(reasons, f"{prefix}{name}", prefix.rstrip(".")))
        interval = confidence.get(name)
        if interval and not item["null"]:
            low, high = (words_of(name).write(bound) for bound in interval)
            item["interval"] = f"{low} to {high} on other plates"
        figures.append(item)
    return figures


def _table(
    table: Mapping[str, Mapping[str, Any]], places: Sequence[str], reasons: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Return titles, rows and notes of a table of metrics; its entries in `reasons` have the prefixes `places`."""
    metrics = list(dict.fromkeys(metric for row in table.values() for metric in row))
    rows: list[dict[str, Any]] = []
    for name, row in table.items():
        cells = []
        for metric in metrics:
            keys = [key for place in places for key in (f"{place}.{name}.{metric}", f"{place}.{name}")]
            reason = next((reasons[key] for key in keys if reasons.get(key)), "")
            cells.append(cell(metric, row.get(metric), reason))
        rows.append({"name": name, "cells": cells})
    notes = number_reasons(cell for row in rows for cell in row["cells"])
    return {"columns": [words_of(metric).title for metric in metrics], "rows": rows, "notes": notes}


def _by_class(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    counts = metrics["counting"]["per_class"]
    return {name: {**row, **counts.get(name, {})} for name, row in metrics["per_class"].items()}


def _empty_plates_words(empty: Mapping[str, Any]) -> str:
    if not empty["num_images"]:
        return "No plate is without a colony, so false alarms on empty plates could not be measured."
    return (
        f"{plural(empty['num_images'], 'plate')} without a colony: on {percent(empty['false_alarm_share'])} of them "
        f"the model detects at least one; on average, {number(empty['detections_per_plate'])} per plate."
    )


def _count_plots(plates: Sequence[ScoredPlate], counting: Mapping[str, Any]) -> list[dict[str, str]]:
    if is_null(counting["mae"]):
        return []
    true_counts = np.array([plate.annotated for plate in plates], dtype=np.float64)
    predicted_counts = np.array([plate.predicted for plate in plates], dtype=np.float64)
    made = [
        {
            "uri": evaluation_plots.scatter_counts(true_counts, predicted_counts),
            "title": "Counted against annotated",
            "words": "One point per plate. Above the line the model counts too many, below it too few.",
        },
        {
            "uri": evaluation_plots.bland_altman(true_counts, predicted_counts),
            "title": "Agreement of the two counts",
            "words": "One point per plate (Bland–Altman): how much the counts differ, and whether more on full plates.",
        },
    ]
    errors = {name: row.get("mae") for name, row in counting["per_density"].items()}
    if any(not is_null(error) for error in errors.values()):
        made.append(
            {
                "uri": plots.columns(errors, "annotated colonies on the plate", "mean count error"),
                "title": "Count error by density",
                "words": "By how many colonies the count is wrong, on average, on sparse and on crowded plates.",
            }
        )
    return made


def _confusion(confusion: Mapping[str, Any], *, known: bool) -> dict[str, Any]:
    """Return the rows of the matrix, with the share that shades each cell; empty if unknown or all zeros."""
    matrix = np.array(confusion["matrix"], dtype=np.int64)
    if not (known and matrix.any()):
        return {"columns": [], "rows": []}
    names = [*confusion["class_names"]]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows = [
        {
            "name": name,
            "cells": [
                {
                    "count": int(count),
                    "share": float(share),
                    "right": place == column,
                    "impossible": place == column == len(names),
                }
                for column, (count, share) in enumerate(zip(counts, row_shares, strict=True))
            ],
        }
        for place, (name, counts, row_shares) in enumerate(
            zip([*names, "no colony there"], matrix.tolist(), shares.tolist(), strict=True)
        )
    ]
    return {"columns": [*names, "no box in place"], "rows": rows}


def _errors(errors: Mapping[str, Any]) -> dict[str, Any]:
    gains = errors["gains"]["all"]["all"]
    counts = errors["detections"] | {"missed": errors["annotations"]["missed"]}
    kinds = sorted(gains, key=lambda kind: -(gains[kind] or 0.0))
    defined = {KIND_WORDS[kind][0]: gains[kind] for kind in kinds}
    return {
        "rows": [
            {
                "kind": kind,
                "name": KIND_WORDS[kind][0],
                "words": KIND_WORDS[kind][1],
                "count": counts[kind],
                "gain": gains[kind],
            }
            for kind in kinds
        ],
        "plot": plots.bars(defined, "mAP@50 gained if only this kind were corrected") if any(defined.values()) else "",
        "tables": [
            {
                "title": title,
                "kinds": [KIND_WORDS[kind][0] for kind in kinds],
                "rows": _error_rows(errors, where, kinds),
            }
            for title, where in (("Class", "per_class"), ("Colonies on the plate", "per_density"))
        ],
    }


def _error_rows(errors: Mapping[str, Any], where: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "cells": [{"count": row[kind], "gain": errors["gains"][where][name][kind]} for kind in kinds]}
        for name, row in errors[where].items()
    ]
