"""Names suspects, so that a person's decision about one can be listed in a file.

Here: an id from what is suspected and suggested. Not here: finding suspects (`suspects`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

from agar_pipeline.coco.box_formats import XYWH_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("file_name", "kind", "category_id", *XYWH_COLUMNS, "suggested_category_id")


def identify(suspects: pd.DataFrame) -> list[str]:
    """Return an id of 24 hexadecimal digits for each row of `RankedSuspects.suspects` with `file_name`.

    The same suspicion of the same annotation, with the same suggestion, has the same id in another review. An
    annotation is known by its photo, class and box: its number changes if another one is drawn on any photo before it.
    Equal annotations are told apart by their order.
    """
    plain = zip(*(suspects[name].astype(str) for name in _COLUMNS), strict=True)
    boxes = ([[float(side) for side in box] for box in of] for of in suspects["suggested_boxes_xywh"])
    contents = [json.dumps([row, of]) for row, of in zip(plain, boxes, strict=True)]
    seen: Counter[str] = Counter()
    found = []
    for content in contents:
        found.append(hashlib.sha256(f"{content}{seen[content]}".encode()).hexdigest()[:24])
        seen[content] += 1
    return found
