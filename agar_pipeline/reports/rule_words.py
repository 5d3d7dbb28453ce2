"""Titles and plain explanations of all rules of the bbox report.

Here: words. Not here: the rules themselves (`labels`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RuleWords:
    """Title, nouns and explanation of one rule, for readers who do not know COCO."""

    title: str
    one: str
    """Noun for one finding, as in `1 …`."""
    many: str
    meaning: str


RULE_WORDS: dict[str, RuleWords] = {
    "non_finite_box": RuleWords(
        "Box without numbers", "box without numbers", "boxes without numbers",
        "A coordinate is missing or not a number, so the box has no place in the picture.",
    ),
    "degenerate_box": RuleWords(
        "Box without area", "box without area", "boxes without area",
        "Width or height is zero or negative, mostly because somebody clicked instead of dragging. It marks nothing.",
    ),
    "out_of_bounds_box": RuleWords(
        "Box leaves the picture", "box that leaves its picture", "boxes that leave their picture",
        "Part of the box lies beyond the edge. A small overhang is harmless, a large one points at misplaced boxes.",
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
    "unlabelled_image": RuleWords(
        "Picture without labels", "picture that nobody has labelled", "pictures that nobody has labelled",
        "No value in the label field, or marked as not done. An empty plate has an empty list of boxes.",
    ),
    "missing_image": RuleWords(
        "Picture missing", "missing picture", "missing pictures",
        "The file is not in the images' folder.",
    ),
    "small_box": RuleWords(
        "Tiny box", "tiny box", "tiny boxes",
        "Narrower than min_box_side_px of the pipeline file. No model can find it; it may be a slip.",
    ),
    "duplicate_file_name": RuleWords(
        "Picture listed twice", "picture listed twice", "pictures listed twice",
        "The list of images names the same file again: it would be learned twice, and may be in train and val.",
    ),
    "duplicate_category": RuleWords(
        "Class listed twice", "class listed twice", "classes listed twice",
        "Two classes share an id, or one name has two ids: they cannot be told apart.",
    ),
    "category_id_below_1": RuleWords(
        "Class id below 1", "class id below 1", "class ids below 1",
        "Classes are numbered 1…K; 0 means background to most detectors, so labels may be off by one.",
    ),
    "negative_id": RuleWords(
        "Negative id", "negative id", "negative ids",
        "Ids of images and annotations must not be negative.",
    ),
    "invalid_image_size": RuleWords(
        "Picture without size", "picture without a size", "pictures without a size",
        "The declared width or height is zero or negative.",
    ),
    "unsafe_file_name": RuleWords(
        "Unsafe file name", "unsafe file name", "unsafe file names",
        "The name leads out of the images' folder, or to something that is no regular file. It is never opened.",
    ),
    "unreadable_image": RuleWords(
        "Unreadable picture", "unreadable picture", "unreadable pictures",
        "The file is no image, is cut off, or is damaged beyond showing.",
    ),
    "damaged_image": RuleWords(
        "Damaged picture", "damaged picture", "damaged pictures",
        "The decoder complains, yet a picture comes out. Look at it: part of it may be grey or garbled.",
    ),
    "oversized_image": RuleWords(
        "Oversized picture", "oversized picture", "oversized pictures",
        "It claims more pixels than any plate's photo has, and would fill the memory.",
    ),
    "image_size_mismatch": RuleWords(
        "Other size than declared", "picture of another size than declared", "pictures of other sizes than declared",
        "The boxes were drawn on a picture of another size, or on a turned one, and would be misplaced.",
    ),
    "rotated_image": RuleWords(
        "Turned picture", "picture turned by EXIF", "pictures turned by EXIF",
        "The camera stored it rotated, with a note how to show it. The training uses it as displayed.",
    ),
    "unusual_image": RuleWords(
        "Unusual format", "picture of an unusual format", "pictures of unusual formats",
        "CMYK, 16 bits, transparency, further pages, or a wrong suffix. Its first page is read, as 8-bit RGB.",
    ),
    "blank_image": RuleWords(
        "Nothing to be seen", "picture with nothing to be seen", "pictures with nothing to be seen",
        "It is nearly black, or of one colour: a lens cap, or values of which the file does not say the range.",
    ),
    "part_without_boxes": RuleWords(
        "Part without boxes", "part without boxes", "parts without boxes",
        "It has pictures, but no colony: metrics on it cannot be computed.",
    ),
    "absent_class": RuleWords(
        "Class without boxes", "class without boxes in a part", "classes without boxes in a part",
        "No box of this class in this part: it is not learned from there, or not scored.",
    ),
    "empty_part": RuleWords(
        "Empty part", "empty part", "empty parts",
        "A part of the split has no picture, or none with a box to learn from.",
    ),
    "misread_boxes": RuleWords(
        "Boxes misread as a whole", "part of misread boxes", "signs of misread boxes",
        "More of a part's boxes than max_flawed_share break a rule, or all lie near the origin: mostly the numbers of "
        "the file are corners, shares, or of another scale or origin.",
    ),
}  # fmt: skip

SEVERITY = {"fail": 0, "drop_image": 1, "drop_box": 2, "clip": 3, "keep": 4}
ACTION_WORDS = {
    "fail": "blocks training",
    "drop_image": "picture left out",
    "drop_box": "box left out",
    "clip": "cut to the picture",
    "keep": "only listed",
}


def words_for(rule: str) -> RuleWords:
    """Return the words of a rule; if there are none, they are made from its name."""
    spelled = rule.replace("_", " ")
    return RULE_WORDS.get(rule) or RuleWords(spelled.capitalize(), f"× {spelled}", f"× {spelled}", spelled)
