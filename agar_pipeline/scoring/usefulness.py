"""Whether a model is of any use for counting, and if not, the most likely reason and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

USEFUL_MAP_50 = 0.5
"""Below it nobody should count: at 0.30, on phone photos of eight species, a plate's count was off by 86 %."""
SMALLEST_PX = 6.0
"""A typical colony that is smaller for the model cannot be told from dust."""
LEAST_STEPS = 150
LEAST_PHOTOS = 15


@dataclass(frozen=True)
class Lesson:
    """What a model was taught with."""

    colony_px: float | None
    """Side of the median colony of train, pixels at the model's scale; None: train has none."""
    steps: int
    photos: int
    """Of train."""

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def explain_uselessness(map_50: float | None, found: int, lesson: Mapping[str, Any] | None) -> str | None:
    """One or two lines where a model is useless, else None.

    Args:
        map_50: On the scored part; None: it could not be computed.
        found: Detections that count, over all photos.
        lesson: A plain `Lesson`; None: not known.
    """
    if map_50 is None or (map_50 >= USEFUL_MAP_50 and found):
        return None
    what = "finds nothing at its score threshold" if not found else f"is of little use yet: mAP@50 is {map_50:.3f}"
    return f"this model {what}, do not count with it\n{_most_likely(lesson)}"


def _most_likely(lesson: Mapping[str, Any] | None) -> str:
    if lesson is None:
        return "look at the worst plates on the page, and train longer or with more plates"
    colony_px, steps, photos = lesson["colony_px"], lesson["steps"], lesson["photos"]
    if colony_px is not None and colony_px < SMALLEST_PX:
        return (
            f"most likely: a typical colony is {colony_px:.1f} px for the model; `data: auto` in the experiment's "
            "defaults chooses a scale at which it is seen"
        )
    if steps < LEAST_STEPS:
        return f"most likely: it was trained for {steps} steps only; raise trainer.max_seconds or max_epochs"
    if photos < LEAST_PHOTOS:
        return f"most likely: {photos} photos are too few to learn from; annotate more plates, then `agar run`"
    return (
        "most likely: the labels disagree (colonies without a box, classes mixed up); look at the worst plates on the "
        "page and at the bbox report, mend the labels, or train longer"
    )
