"""The rules for images, categories and parts of a COCO file that can be checked without image files.

Here: finding. Not here: checking image files (`file_checks`), the verdict (`findings`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.labels.box_rules import concat_findings, repeated

UNLABELLED_WORDS = "not labelled yet"


def find_image_findings(columns: CocoColumns, part: str) -> pd.DataFrame:
    """All findings about images: ids, names and sizes."""
    rows_by_rule = {
        "duplicate_image_id": repeated(columns.image_ids),
        "duplicate_file_name": np.flatnonzero(pd.Series(columns.file_names, dtype=object).duplicated().to_numpy()),
        "negative_id": np.flatnonzero(columns.image_ids < 0),
        "unlabelled_image": np.flatnonzero(~columns.labelled),
        "invalid_image_size": np.flatnonzero((columns.sizes_wh <= 0).any(axis=1)),
    }
    return concat_findings([describe_images(columns, part, rule, rows) for rule, rows in rows_by_rule.items()])


def describe_images(
    columns: CocoColumns, part: str, rule: str, rows: np.ndarray, values: list[str] | None = None
) -> pd.DataFrame:
    """Findings about whole images, one per row; the value is the declared size unless it is given."""
    if not len(rows):
        return pd.DataFrame()
    if values is None:
        values = [f"declared {width}×{height} px" for width, height in columns.sizes_wh[rows].tolist()]
    if rule in {"duplicate_image_id", "negative_id"}:
        values = [f"image id {image_id}" for image_id in columns.image_ids[rows]]
    if rule == "unlabelled_image":
        values = [UNLABELLED_WORDS] * len(rows)
    return pd.DataFrame(
        {
            "rule": rule,
            "part": part,
            "image_id": columns.image_ids[rows],
            "file_name": columns.file_names[rows],
            "value": values,
        }
    )


def find_part_findings(columns: CocoColumns, part: str) -> pd.DataFrame:
    """All findings about the categories, and about a part as a whole."""
    found = [("duplicate_category", value) for value in _duplicate_categories(columns)]
    found += [
        ("category_id_below_1", f"category {name!r} has id {category_id}: ids are 1…K, 0 is the background")
        for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True)
        if category_id < 1
    ]
    single = columns.without_crowds()
    if not len(columns.image_ids):
        found.append(("empty_part", "0 images"))
    elif not len(single.annotation_ids):
        crowds = len(columns.annotation_ids)
        why = (
            f": all {crowds} are marked iscrowd (a region of many); set iscrowd to 0 for each that is one colony"
            if crowds
            else ""
        )
        found.append(("empty_part" if part == "train" or crowds else "part_without_boxes", f"0 annotations{why}"))
    else:
        present = set(single.annotation_category_ids.tolist())
        found += [
            ("absent_class", f"no annotation of {name!r} (category_id {category_id})")
            for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True)
            if category_id not in present
        ]
    return concat_findings([pd.DataFrame({"rule": [rule], "part": [part], "value": [text]}) for rule, text in found])


def _duplicate_categories(columns: CocoColumns) -> list[str]:
    ids, names = columns.category_ids, columns.class_names
    found = [f"category id {ids[row]} is used again, for {names[row]!r}" for row in repeated(ids)]
    seen: dict[str, int] = {}
    for category_id, name in zip(ids.tolist(), names, strict=True):
        if seen.setdefault(name, category_id) != category_id:
            found.append(f"class {name!r} has the category ids {seen[name]} and {category_id}")
    return found
