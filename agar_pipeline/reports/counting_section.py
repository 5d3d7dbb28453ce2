"""The section of the evaluation page on how detections become counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agar_pipeline.scoring.counting import CountRule

CHOSEN_BY = {
    "count_error": "It has the least mean error of the counts",
    "f1": "It has the best F1 of detections and annotations at an IoU of 0.5",
}


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
        sentences.append(f"{CHOSEN_BY[rule.chosen_by]} on {rule.chosen_on}.")
    else:
        sentences.append(f"The value was chosen on {rule.chosen_on}.")
    if counting["reported_apart"]:
        sentences.append(
            f"These classes count as colonies: {', '.join(counting['classes'])}. The table of classes also has those "
            f"that do not: {', '.join(counting['reported_apart'])}."
        )
    sentences.append("mAP and recall use all scores; counts and pictures only the detections that are kept.")
    return " ".join(sentences)
