"""Decides whether a model is good enough for counting; if not, names the most likely cause and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agar_pipeline.text.plurals import plural

USEFUL_MAP_50 = 0.5
"""A model below this mAP@50 is too bad for counting: at 0.30, on phone photos of eight species, the count of a plate
was off by 86 %.
"""
SMALLEST_PX = 6.0
"""A typical colony that is smaller than this in the model's input, pixels, cannot be distinguished from dust."""
LEAST_STEPS = 150
LEAST_PHOTOS = 15


@dataclass(frozen=True)
class Lesson:
    """The data and the number of steps of a training."""

    colony_px: float | None
    """Side of the median colony of train, pixels at the model's scale; None if train has no colonies."""
    steps: int
    photos: int
    """Photos in train."""

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def explain_uselessness(
    map_50: float | None, found: int, lesson: Mapping[str, Any] | None, *, limit: str | None = None
) -> str | None:
    """Return why the model is not good enough for counting, and in a second line the next step; None if it is.

    Args:
        map_50: On the scored split; None: it could not be computed.
        found: Number of detections that count, over all photos.
        lesson: A `Lesson` as plain values; None: not known.
        limit: Which limit of detections the model reached, so that nothing could be computed.
    """
    if limit is not None:
        steps = "" if lesson is None else f" ({plural(lesson['steps'], 'step')} until now)"
        return (
            f"this model could not be scored; do not use it to count: {limit}\n"
            f"train it longer{steps}: raise trainer.max_seconds or max_epochs in the experiment's file, then `agar run`"
        )
    if map_50 is None or (map_50 >= USEFUL_MAP_50 and found):
        return None
    what = "finds nothing at its score threshold" if not found else f"is of little use yet: mAP@50 is {map_50:.3f}"
    return f"this model {what}; do not use it to count\n{_next_step(lesson)}"


def _next_step(lesson: Mapping[str, Any] | None) -> str:
    """Say what to do about the most likely cause, and name that cause."""
    if lesson is None:
        return "look at the worst plates on the page, and train longer or with more plates"
    colony_px, steps, photos = lesson["colony_px"], lesson["steps"], lesson["photos"]
    if colony_px is not None and colony_px < SMALLEST_PX:
        return (
            "choose the scale with `data: auto` in the experiment's defaults; the most likely cause is that a typical "
            f"colony is {colony_px:.1f} px for the model, which is too small"
        )
    if steps < LEAST_STEPS:
        trained = f"trained for {plural(steps, 'step')} only"
        return f"raise trainer.max_seconds or max_epochs; the most likely cause is that the model was {trained}"
    if photos < LEAST_PHOTOS:
        few = plural(photos, "photo is", "photos are")
        return f"annotate more plates, then `agar run`; the most likely cause is that {few} too few to learn from"
    return (
        "look at the worst plates on the page, at the bbox report, and at the suspects that "
        "`agar review --experiment E` lists; correct the labels, or train longer; the most likely cause is that the "
        "labels are inconsistent (colonies without a box, classes mixed up)"
    )
