"""Whether a COCO file marks an image as not annotated yet, or not to its end.

COCO itself has no word for it, annotation tools have: COCO Annotator writes `annotated: false`, others a flag or a
status of these names. An image of which nothing is said is done.
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
    """Whether an entry of a COCO file's `images` says that it is not annotated yet, or not to its end."""
    return any(image.get(flag) is False for flag in _FLAGS if flag in image) or any(
        _word(image[state]) in _NOT_DONE for state in _STATES if state in image
    )


def _word(state: Any) -> str:
    return re.sub(r"[\W_]+", "", state).casefold() if isinstance(state, str) else ""
