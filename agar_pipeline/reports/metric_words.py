"""Titles, plain explanations and number formats of all metrics.

Here: words and number formats. Not here: computing (`scoring`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agar_pipeline.reports.number_formats import is_null, number, percent, percent_points, score, signed, whole


@dataclass(frozen=True)
class MetricWords:
    """Title, explanation and format of one metric, for readers who do not know COCO."""

    title: str
    words: str
    write: Callable[[Any], str] = score
    lower_is_better: bool | None = False
    """None if neither low nor high values are better."""


METRIC_WORDS: dict[str, MetricWords] = {
    "map": MetricWords("mAP@50:95", "Boxes found and tightly placed; 1 is perfect."),
    "map_50": MetricWords("mAP@50", "Colonies found, box roughly in place; 1 is perfect."),
    "map_75": MetricWords("mAP@75", "Colonies found with a well fitting box; 1 is perfect."),
    "map_small": MetricWords("mAP small", "Boxes below 32 × 32 px."),
    "map_medium": MetricWords("mAP medium", "Boxes from 32 × 32 to 96 × 96 px."),
    "map_large": MetricWords("mAP large", "Boxes above 96 × 96 px."),
    "mar_max": MetricWords(
        "mean recall", "Share of colonies found, low scores included, averaged over how tightly a box must fit."
    ),
    "mae": MetricWords(
        "count error", "By how many colonies the count of a plate is wrong, on average (MAE).", number, True
    ),
    "me": MetricWords("count bias", "Above 0 it counts too many, below 0 too few (mean error).", signed, None),
    "smape": MetricWords(
        "relative count error",
        "Count error as a share of the mean of both counts (sMAPE, 0 to 200 %).",
        percent_points,
        True,
    ),
    "r2": MetricWords(
        "R² of counts", "1: the counts are correct; 0: they are no better than the mean count for each plate.", number
    ),
    "false_alarm_share": MetricWords(
        "false alarms", "Share of the plates without a colony on which one is detected.", percent, True
    ),
    "detections_per_plate": MetricWords(
        "false colonies", "Detections on a plate without a colony, on average.", number, True
    ),
    "within_10_percent": MetricWords(
        "within 10 %", "Share of the plates whose count is wrong by at most 10 %.", percent
    ),
    "map_low": MetricWords("from", "Lower end of mAP's 95 % interval over plates.", score, None),
    "map_high": MetricWords("to", "Upper end of mAP's 95 % interval over plates.", score, None),
    "seed": MetricWords("seed", "Seed of the training.", whole, None),
    "seed_spread": MetricWords(
        "spread of seeds", "Standard deviation of mAP over trainings that differ only in their seed.", score, None
    ),
    "delta": MetricWords("mAP behind", "mAP minus that of the leader, on the same plates.", signed, None),
    "delta_low": MetricWords("from (behind)", "Lower end of that difference's 95 % interval.", signed, None),
    "delta_high": MetricWords("to (behind)", "Upper end of that difference's 95 % interval.", signed, None),
    "verdict": MetricWords("against the leader", "Whether the difference is more than noise.", str, None),
    "annotations": MetricWords("annotated boxes", "Boxes that the predictions are compared with.", whole, None),
    "num_images": MetricWords("plates", "Plates evaluated.", whole, None),
    "num_annotations": MetricWords("annotated boxes", "Boxes that the predictions are compared with.", whole, None),
    "seconds": MetricWords("seconds", "Time that the training took.", number, None),
}


KIND_WORDS: dict[str, tuple[str, str]] = {
    "true_positive": ("right", "right class, box in place (IoU of at least 0.5)"),
    "wrong_class": ("wrong class", "box in place, but of another class"),
    "poor_box": ("poor box", "right class, box beside the colony or of another size (IoU 0.1 to 0.5)"),
    "merged": ("merged", "one box around two or more colonies"),
    "duplicate": ("duplicate", "a second box on a colony that has one"),
    "background": ("background", "a box at a place without a colony of its class"),
    "missed": ("missed", "a colony without a predicted box"),
    "ignored": ("ignored", "in a crowd region: counts neither as right nor as wrong"),
}
"""Kind of match → a short name and an explanation."""


def words_of(metric: str) -> MetricWords:
    """Return the words of a metric; if there are none, its name is the title."""
    return METRIC_WORDS.get(metric) or MetricWords(metric.replace("_", " "), "", number, None)


def reason_for(reasons: Mapping[str, str], *keys: str) -> str:
    """Return why a metric is null: the reason of the first of `keys` that has one."""
    return next((reasons[key] for key in keys if reasons.get(key)), "no reason was recorded")


def figure(metric: str, value: Any, reason: str) -> dict[str, Any]:
    """Return what a tile shows; `reason` is why a null value could not be computed."""
    words = words_of(metric)
    written = cell(metric, value, reason)
    return written | {
        "label": words.title,
        "value": written["text"],
        "words": words.words.replace(" %", "\N{NO-BREAK SPACE}%"),
    }


def cell(metric: str, value: Any, reason: str = "") -> dict[str, Any]:
    """Return text, whether the value is null, and if so the reason; `number_reasons` adds a mark."""
    if is_null(value):
        return {"text": "–", "null": True, "reason": reason, "mark": None}
    text = value if isinstance(value, str) else words_of(metric).write(value)
    return {"text": text, "null": False, "reason": "", "mark": None}
