"""The section of the evaluation page on how detections become counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agar_pipeline.reports import evaluation_plots
from agar_pipeline.reports.number_formats import number, percent
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.text.plurals import plural

CHOSEN_BY = {
    "count_error": "It has the least mean absolute error of the counts",
    "f1": "It has the best F1 of detections and annotations at an IoU of 0.5",
}
LEAST_BOXES = 10
"""A bin of the reliability plot with fewer boxes is left out: its share of right ones says little."""


def threshold_words(metrics: Mapping[str, Any], rule: CountRule) -> str:
    """Which detections are kept, how that was chosen, and which classes count, in sentences."""
    counting = metrics["counting"]
    sentences = [f"A detection is kept from a score of {rule.threshold:.3g} on."]
    if rule.per_class:
        own = ", ".join(f"{name} {value:.3g}" for name, value in rule.per_class.items())
        sentences.append(f"Classes with a threshold of their own: {own}.")
    if rule.chosen_on == "these images":
        sentences.append("The value was chosen on these same images, so the counts look a little better than they are.")
    elif rule.chosen_by in CHOSEN_BY:
        sentences.append(
            f"{CHOSEN_BY[rule.chosen_by]} on {rule.chosen_on}; of a run of equally good scores, the middle."
        )
    else:
        sentences.append(f"The value was chosen on {rule.chosen_on}.")
    if counting["reported_apart"]:
        sentences.append(
            f"These classes count as colonies: {', '.join(counting['classes'])}. The table of classes also has those "
            f"that do not: {', '.join(counting['reported_apart'])}."
        )
    sentences += region_sentences(counting)
    sentences.append("mAP and recall use all scores; counts and pictures only the detections that are kept.")
    return " ".join(sentences)


def interval_words(metrics: Mapping[str, Any]) -> str:
    """How often the annotated count lay within the interval of the predicted one, in sentences."""
    held = metrics["counting"].get("interval")
    if held is None:
        return f"No interval is stated with the counts: {metrics['reasons'].get('counting.interval', 'not computed')}."
    share, stated = percent(held["covered"] / held["plates"]), f"{100 * held['coverage']:g} %"
    width = number(held["mean_width"])
    sentences = [
        f"{share} of {plural(held['plates'], 'plate')} lay within the interval of their count, {stated} were stated.",
        f"On average, the highest count of an interval is {width} above the lowest.",
    ]
    if held["how"] != "calibrated on val":
        sentences.append(
            "The interval of each plate was calibrated on the other plates, so this share is close to the stated one "
            "by construction; another part (evaluation.part) tests it."
        )
    shares = ", ".join(f"{percent(of)} at {name} colonies" for name, of in held["per_density"].items())
    return " ".join([*sentences, f"By the annotated count: {shares}."])


def threshold_plots(metrics: Mapping[str, Any], rule: CountRule) -> list[dict[str, str]]:
    """The curve of the thresholds, and how often detections of a score are right; each if it could be computed."""
    plots, curve = [], metrics["score_threshold"].get("curve")
    if curve:
        score, mae, f1 = (np.array(curve[name]) for name in ("score", "mae", "f1"))
        plots.append(
            {
                "uri": evaluation_plots.threshold_curve(score, mae, f1, rule.threshold),
                "title": "Count error and F1 at each threshold",
                "words": "On the plates that the threshold was chosen on, the classes that count together.",
            }
        )
    if any(metrics["reliability"].values()):
        plots.append(
            {
                "uri": evaluation_plots.reliability(metrics["reliability"], LEAST_BOXES),
                "title": "How often a score is right",
                "words": "One point for each tenth of the scores with "
                f"{LEAST_BOXES} boxes or more. Below the diagonal, scores are too high. The threshold is chosen anew "
                "for each model, so counts do not depend on this.",
            }
        )
    return plots


def region_sentences(counting: Mapping[str, Any]) -> list[str]:
    """Where colonies count and why; none if that was not chosen."""
    if "region" not in counting:
        return []
    region, outside = counting["region"], counting["outside"]
    if region["use"] == "photo":
        return [f"The whole photo counts: {region['reason']}."]
    place = "the dish" if region["use"] == "dish" else "a circle"
    sentences = [f"Only what lies inside {place} counts, drawn in light blue: {region['reason']}."]
    if region["images_without_circle"]:
        sentences.append(
            f"On {plural(region['images_without_circle'], 'photo')} no dish is found, and the whole photo counts."
        )
    left_out = plural(outside["annotations"], "annotated colony", "annotated colonies")
    sentences.append(f"Outside lie {left_out} and {plural(outside['detections'], 'detection')}.")
    return sentences
