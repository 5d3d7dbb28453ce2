"""Says in words why a label is suspected, and what is suggested.

Here: one sentence per suspect. Not here: how suspects are found (`suspects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "missed_colony": "Missed colony",
    "box_too_many": "Box too many",
    "wrong_class": "Wrong class",
    "poor_box": "Poor box",
    "double_box": "Double box",
    "merged_box": "Two colonies in one box",
}


def explain(suspects: pd.DataFrame, names: Mapping[int, str]) -> list[str]:
    """Return one sentence for each suspect; `names`: category_id → class."""
    return [_SENTENCES[row["kind"]](row, names) for row in suspects.to_dict("records")]


def _found(row: Mapping[Any, Any], names: Mapping[int, str]) -> str:
    return f"The model finds {names[row['suggested_category_id']]} with a score of {row['detection_score']:.2f}"


_SENTENCES: dict[str, Any] = {
    "missed_colony": lambda row, names: f"{_found(row, names)}, where there is no annotation.",
    "box_too_many": lambda row, names: f"The model finds nothing that fits this {names[row['category_id']]}.",
    "wrong_class": lambda row, names: f"{_found(row, names)}, where {names[row['category_id']]} is annotated.",
    "poor_box": lambda row, names: (
        f"The model finds this {names[row['category_id']]} with another box, score {row['detection_score']:.2f}."
    ),
    "double_box": lambda row, names: (
        f"The annotation {row['other_annotation_id']} has nearly the same box, and the model finds one colony."
    ),
    "merged_box": lambda row, names: (
        f"The model finds two colonies in this {names[row['category_id']]}, the weaker with a score of "
        f"{row['detection_score']:.2f}."
    ),
}
