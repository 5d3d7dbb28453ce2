"""Finds out whether a COCO file marks an image as not annotated or not finished.

COCO itself has no key for this, but annotation tools do: COCO Annotator writes `annotated: false`, other tools a flag
or a status with one of the names below. An image without such a key counts as finished.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FLAGS = ("annotated", "is_annotated", "labeled", "labelled", "is_labeled", "is_labelled")
_STATES = ("status", "state", "image_status", "annotation_status", "label_status", "labeling_state")
_NOT_DONE = frozenset(
    {
        "annotate",
        "annotating",
        "draft",
        "incomplete",
        "inprogress",
        "new",
        "notannotated",
        "notlabeled",
        "notlabelled",
        "notstarted",
        "open",
        "pending",
        "skipped",
        "todo",
        "unannotated",
        "unfinished",
        "unlabeled",
        "unlabelled",
    }
)


def is_unfinished(image: Mapping[str, Any]) -> bool:
    """Whether an entry of `images` in a COCO file is marked as not annotated or not finished.

    >>> is_unfinished({"id": 1, "status": "In Progress"}), is_unfinished({"id": 1})
    (True, False)
    """
    return any(image.get(flag) is False for flag in _FLAGS if flag in image) or any(
        _word(image[state]) in _NOT_DONE for state in _STATES if state in image
    )


def _word(state: Any) -> str:
    return re.sub(r"[\W_]+", "", state).casefold() if isinstance(state, str) else ""
