"""The rules of the bbox report, the actions that are allowed for each rule, and the default action of each rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from agar_pipeline.errors import ConfigError

Action = Literal["fail", "drop_box", "drop_image", "clip", "keep"]
"""`fail` stops training; `drop_box`, `drop_image` and `clip` change the COCO cache; `keep` only lists the finding."""
BoxRule = Literal[
    "non_finite_box",
    "degenerate_box",
    "small_box",
    "out_of_bounds_box",
    "duplicate_box",
    "unknown_class",
    "unknown_image",
    "duplicate_annotation_id",
    "duplicate_image_id",
    "duplicate_file_name",
    "duplicate_category",
    "category_id_below_1",
    "negative_id",
    "invalid_image_size",
    "unlabelled_image",
    "missing_image",
    "unsafe_file_name",
    "unreadable_image",
    "damaged_image",
    "oversized_image",
    "image_size_mismatch",
    "rotated_image",
    "unusual_image",
    "blank_image",
    "empty_part",
    "part_without_boxes",
    "absent_class",
    "misread_boxes",
]
"""All rules. The modules `labels.box_rules`, `image_rules` and `file_checks` apply them."""
ImageChecks = Literal["header", "decode", "skip"]
"""How image files are checked: `header` reads the first bytes, `decode` every pixel, `skip` only tests that they exist.
"""
BoxSide = Annotated[float, Field(ge=0, le=1000)]
MIN_BOX_SIDE_PX, MAX_MISSING_SHARE, MAX_FLAWED_SHARE = 2.0, 0.01, 0.05
"""Defaults of the limits, see `PipelineConfig`."""

_BOX: tuple[Action, ...] = ("fail", "drop_box", "drop_image", "keep")
_BAD_BOX: tuple[Action, ...] = ("fail", "drop_box", "drop_image")
_IMAGE: tuple[Action, ...] = ("fail", "drop_image", "keep")
_BAD_IMAGE: tuple[Action, ...] = ("fail", "drop_image")
_FILE: tuple[Action, ...] = ("fail", "keep")
ALLOWED_ACTIONS: dict[BoxRule, tuple[Action, ...]] = {
    "non_finite_box": _BAD_BOX,
    "degenerate_box": _BOX,
    "small_box": _BOX,
    "out_of_bounds_box": ("clip", *_BOX),
    "duplicate_box": _BOX,
    "unknown_class": _BAD_BOX,
    "unknown_image": ("fail", "drop_box"),
    "duplicate_annotation_id": ("fail",),
    "duplicate_image_id": ("fail",),
    "duplicate_file_name": _IMAGE,
    "duplicate_category": ("fail",),
    "category_id_below_1": _FILE,
    "negative_id": _FILE,
    "invalid_image_size": _BAD_IMAGE,
    "unlabelled_image": _IMAGE,
    "missing_image": _BAD_IMAGE,
    "unsafe_file_name": _BAD_IMAGE,
    "unreadable_image": _BAD_IMAGE,
    "damaged_image": _IMAGE,
    "oversized_image": _BAD_IMAGE,
    "image_size_mismatch": _BAD_IMAGE,
    "rotated_image": _IMAGE,
    "unusual_image": _IMAGE,
    "blank_image": _IMAGE,
    "empty_part": _FILE,
    "part_without_boxes": _FILE,
    "absent_class": _FILE,
    "misread_boxes": _FILE,
}
"""The allowed actions of each rule.

An action is left out where it would keep data that ends a training in an error, or misplaced boxes that nobody sees.
"""

BOX_POLICY_DEFAULTS: dict[BoxRule, Action] = {
    **dict.fromkeys(ALLOWED_ACTIONS, "fail"),
    "small_box": "keep",  # narrower than min_box_side_px: only listed, so that a person can look at it
    "out_of_bounds_box": "clip",  # clipped to the image; a box wholly outside becomes degenerate, and fails as such
    "duplicate_box": "keep",
    "damaged_image": "keep",  # the decoder reports errors but returns an image; some cameras write such files
    "rotated_image": "keep",  # the loader applies the EXIF rotation; the declared size must fit the rotated image
    "unusual_image": "keep",  # the loader converts CMYK, 16-bit, alpha and palette images to 8-bit RGB
    "blank_image": "keep",  # may be a lens cap or a wrong value range, but also an empty, evenly lit plate
    "part_without_boxes": "keep",
    "absent_class": "keep",
}
"""The default action of each rule. The key `unlabelled` of a pipeline file sets that of `unlabelled_image`."""

UnlabelledPolicy = Literal["fail", "leave_out", "keep"]
UNLABELLED_ACTIONS: dict[UnlabelledPolicy, Action] = {"fail": "fail", "leave_out": "drop_image", "keep": "keep"}
"""The action for the rule `unlabelled_image` that each value of the key `unlabelled` stands for."""
MENDING: tuple[Action, ...] = ("drop_box", "drop_image", "clip")
"""Actions that change the COCO cache. The others only decide whether the report passes."""


def check_box_policy(box_policy: Mapping[BoxRule, Action]) -> None:
    """Check that each action is allowed for its rule.

    Raises:
        ConfigError: an action is not allowed; the message lists the allowed ones.
    """
    if "unlabelled_image" in box_policy:
        choices = ", ".join(UNLABELLED_ACTIONS)
        raise ConfigError(
            "cannot be set, because the key `unlabelled` says what is done with images without labels",
            where="box_policy.unlabelled_image",
            next_step=f"remove it, and set `unlabelled` to one of {choices}",
        )
    for rule, action in box_policy.items():
        if action not in ALLOWED_ACTIONS[rule]:
            choices = ", ".join(ALLOWED_ACTIONS[rule])
            why = f": {_REASONS[action]}" if action in _REASONS else ""
            raise ConfigError(
                f"is not possible{why}", where=f"box_policy.{rule}", value=action, next_step=f"write one of {choices}"
            )


_REASONS: dict[str, str] = {
    "clip": "only a box that leaves its picture can be clipped",
    "drop_box": "no single box is at fault",
    "drop_image": "no single image is at fault",
    "keep": "training would end in an error or learn from misplaced boxes",
}


def rules_allowing(action: Action) -> frozenset[BoxRule]:
    """Return the rules for which an action is allowed.

    >>> sorted(rules_allowing("clip"))
    ['out_of_bounds_box']
    """
    return frozenset(rule for rule, actions in ALLOWED_ACTIONS.items() if action in actions)


def mending_actions(box_policy: Mapping[BoxRule, Action]) -> dict[BoxRule, Action]:
    """Return the rules whose action changes the COCO cache, sorted by name."""
    return {rule: box_policy[rule] for rule in sorted(box_policy) if box_policy[rule] in MENDING}
