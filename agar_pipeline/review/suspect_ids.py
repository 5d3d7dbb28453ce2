"""Names suspects, so that a person's decision about one can be listed in a file.

Here: an id from what is suspected and suggested. Not here: finding suspects (`suspects`).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def identify(suspects: pd.DataFrame) -> list[str]:
    """Return an id of 24 hexadecimal digits for each row of `LabelReview.suspects` with `file_name`.

    The same suspicion of the same annotation, with the same suggestion, has the same id in another review.
    """
    columns = ["file_name", "annotation_id", "kind", "suggested_category_id", "suggested_boxes_xywh"]
    return [_digest(row) for row in suspects[columns].itertuples(index=False)]


def _digest(row: tuple[object, ...]) -> str:
    *plain, boxes = row
    content = [str(value) for value in plain], [[float(side) for side in box] for box in boxes]  # type: ignore[attr-defined]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]
