"""What each rule of the bbox report means, in plain words.

Here: words. Not here: the rules themselves (`agar_pipeline.detection`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RuleWords:
    """One rule for a reader who has never seen COCO."""

    title: str
    one: str
    """For `1 …`."""
    many: str
    meaning: str


RULE_WORDS: dict[str, RuleWords] = {
    "non_finite_box": RuleWords(
        "Box without numbers", "box without numbers", "boxes without numbers",
        "A coordinate is missing or not a number, so the box has no place in the picture.",
    ),
    "degenerate_box": RuleWords(
        "Box without area", "box without area", "boxes without area",
        "Width or height is zero or negative, mostly a click instead of a drag. It marks nothing.",
    ),
    "out_of_bounds_box": RuleWords(
        "Box leaves the picture", "box that leaves its picture", "boxes that leave their picture",
        "Part of the box lies beyond the edge. Training clips it to the picture, so a small overhang is harmless.",
    ),
    "duplicate_box": RuleWords(
        "Box drawn twice", "box drawn twice", "boxes drawn twice",
        "The same class at the same place in the same picture again. The colony would be counted twice.",
    ),
    "unknown_class": RuleWords(
        "Unknown class", "box of an unknown class", "boxes of unknown classes",
        "The label is not in the pipeline's class map, so the model cannot learn it.",
    ),
    "unknown_image": RuleWords(
        "Box without picture", "box without a picture", "boxes without a picture",
        "The box names an image that is not in the list of images.",
    ),
    "duplicate_image_id": RuleWords(
        "Image id used twice", "image id used twice", "image ids used twice",
        "Two images share an id: their boxes cannot be told apart.",
    ),
    "duplicate_annotation_id": RuleWords(
        "Annotation id used twice", "annotation id used twice", "annotation ids used twice",
        "Two boxes share an id: evaluation would match the wrong one.",
    ),
    "missing_image": RuleWords(
        "Picture missing", "missing picture", "missing pictures",
        "The file is not in the images' folder.",
    ),
    "empty_part": RuleWords(
        "Empty part", "empty part", "empty parts",
        "A part of the split has no picture, or none with a box to learn from.",
    ),
}  # fmt: skip

SEVERITY = {"fail": 0, "drop_box": 1, "keep": 2}
ACTION_WORDS = {"fail": "blocks training", "drop_box": "box left out", "keep": "only listed"}


def words_for(rule: str) -> RuleWords:
    """The words of a rule; a rule that has none yet is named as it is."""
    spelled = rule.replace("_", " ")
    return RULE_WORDS.get(rule) or RuleWords(spelled.capitalize(), f"× {spelled}", f"× {spelled}", spelled)
