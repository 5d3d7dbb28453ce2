"""The page of suspects: how many labels are probably wrong, of which kind and class, and pictures of the worst.

Here: choosing, drawing and wording. Not here: finding suspects (`review.suspects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.errors import ImageFileError
from agar_pipeline.photos.image_paths import safe_image_path
from agar_pipeline.reports.cross_validation_words import describe_cross_validation
from agar_pipeline.reports.number_formats import whole
from agar_pipeline.reports.pictures import BoxLayer, open_photo, picture_of_place
from agar_pipeline.reports.render import write_page
from agar_pipeline.review.reasons import TITLES
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

PROBABLE = 0.5
SURROUNDING = 1.5
"""Width of the photo shown on each side of the boxes, in sides of the boxes."""
_LARGEST_SIDE_PX = 20_000


def write_review_page(
    path: Path,
    suspects: pd.DataFrame,
    numbers: Mapping[str, Any],
    columns_of: Mapping[str, CocoColumns],
    images_dir: Path,
    title: str,
    pictures: int,
    cross_validation: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        suspects: Of `review.suspects.RankedSuspects`, with `part`, `file_name` and `reason`.
        columns_of: Part → the annotations that were reviewed.
        cross_validation: `cross_validation.json`; None if there is none.
    """
    names = next(iter(columns_of.values())).names
    probable = suspects[suspects["score"] >= PROBABLE]
    values = {
        "title": title,
        "headline": f"A{estimate_in_words(numbers)[1:]}.",
        "kinds": [
            {
                "title": TITLES[kind],
                "probable": int((probable["kind"] == kind).sum()),
                "estimate": whole(round(of["estimate"])),
                "interval": _interval(of),
                "classes": [int(((probable["kind"] == kind) & (_classes(probable) == i)).sum()) for i in names],
            }
            for kind, of in numbers["kinds"].items()
        ],
        "class_names": list(names.values()),
        "parts": [
            {"name": name, "estimate": whole(round(of["estimate"])), "interval": _interval(of)}
            for name, of in numbers["parts"].items()
        ],
        "cross_validation": None if cross_validation is None else describe_cross_validation(cross_validation),
        "pictures": _draw(suspects.head(pictures), columns_of, images_dir),
        "shown": plural(min(pictures, len(suspects)), "suspect"),
    }
    write_page(path, "review.html.j2", values)


def estimate_in_words(numbers: Mapping[str, Any]) -> str:
    """Say how many labels are probably wrong; `numbers` is the content of review.json."""
    of = numbers["wrong"]
    interval = f"no interval: {of['reason']}" if of["interval"] is None else f"95 % interval: {_interval(of)}"
    wrong = plural(round(of["estimate"]), "label is", "labels are")
    return f"about {wrong} wrong or missing ({interval}); {plural(numbers['annotations'], 'is', 'are')} annotated"


def _interval(of: Mapping[str, Any]) -> str:
    return " to ".join(whole(round(end)) for end in of["interval"] or ()) or "–"


def _classes(suspects: pd.DataFrame) -> pd.Series[int]:
    """The annotated class; of a missed colony the suggested one."""
    return suspects["category_id"].fillna(suspects["suggested_category_id"])


def _draw(suspects: pd.DataFrame, columns_of: Mapping[str, CocoColumns], images_dir: Path) -> list[dict[str, Any]]:
    """Draw each suspect; photos are opened once, and the order is that of the suspects."""
    rows = list(enumerate(suspects.to_dict("records")))
    drawn: dict[int, dict[str, Any]] = {}
    of_photo = itemgetter("part", "file_name")
    for (part, name), group in groupby(sorted(rows, key=lambda one: of_photo(one[1])), lambda one: of_photo(one[1])):
        columns = columns_of[part]
        try:
            photo, _ = open_photo(safe_image_path(images_dir, name), _size_of(columns, name))
            note = ""
        except ImageFileError as error:
            photo, note = None, f"No picture: {error.in_one_line}"
        for place, row in group:
            item = {
                "title": TITLES[row["kind"]],
                "file_name": name,
                "score": f"{row['score']:.0%}".replace("%", " %"),
                "reason": row["reason"],
                "note": note,
                "uri": "" if photo is None else _picture(row, columns, photo),
            }
            drawn[place] = item
    return [drawn[place] for place in range(len(rows))]


def _size_of(columns: CocoColumns, name: str) -> int:
    """The longer side of a photo as annotated, so that it is opened without scaling."""
    row = int(np.flatnonzero(np.asarray(columns.file_names) == name)[0])
    return min(int(columns.sizes_wh[row].max()), _LARGEST_SIDE_PX)


def _picture(row: Mapping[Any, Any], columns: CocoColumns, photo: Any) -> str:
    own = np.array([[row[side] for side in XYWH_COLUMNS]], np.float64)
    own = own[np.isfinite(own).all(axis=1)]
    suggested = np.array([list(box) for box in row["suggested_boxes_xywh"]], np.float64).reshape(-1, 4)
    mine = columns.annotation_image_ids == row["image_id"]
    if len(own):
        mine = mine & (columns.annotation_ids != row["annotation_id"])
    both = np.concatenate([own, suggested])
    low, high = both[:, :2].min(axis=0), (both[:, :2] + both[:, 2:]).max(axis=0)
    around = SURROUNDING * (high - low).max()
    limit = np.array(photo.size)
    start, end = np.clip(low - around, 0, limit - 1).astype(int), np.clip(high + around, 1, limit).astype(int)
    x1, y1 = start.tolist()
    x2, y2 = np.maximum(end, start + 1).tolist()
    layers = [
        BoxLayer(columns.boxes_xywh[mine], "context"),
        BoxLayer(suggested, "prediction"),
        BoxLayer(own, "finding"),
    ]
    return picture_of_place(photo, (x1, y1, x2, y2), layers)
