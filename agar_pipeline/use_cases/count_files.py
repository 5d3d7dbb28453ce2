"""The files of `agar predict --out-dir`: counts.csv, predictions.json, and one picture per photo.

Here: the rows of counts, also for the terminal. Not here: printing them (`predict_words`), counting (`photo_folder`).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.progress import progress_bar
from agar_pipeline.text.safe_text import csv_cell, csv_row

if TYPE_CHECKING:
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, PhotoModel
    from agar_pipeline.ownership.folders import OwnFolder

PICTURE_SIDE_PX = 1600
_COUNTS, _PREDICTIONS, _PICTURES = "counts.csv", "predictions.json", "pictures"


def open_counts(out_dir: Path, photos: Sequence[Path], inputs: Sequence[Path], others: Sequence[str] = ()) -> OwnFolder:
    """Return the output folder of the files, before the colonies are counted.

    Args:
        others: Names of other files that will be written.

    Raises:
        StorageError: images, foreign files or inputs of the command would be overwritten.
    """
    from agar_pipeline.ownership.beside_photos import require_no_photos
    from agar_pipeline.ownership.folders import OwnFolder
    from agar_pipeline.ownership.originals import Originals

    folder = OwnFolder(out_dir, "predict", Originals([*photos, *inputs]))
    below = (Path(place).relative_to(out_dir).as_posix() for place, _, _ in os.walk(out_dir / _PICTURES))
    require_no_photos(out_dir, "predict", ["", *below])
    folder.require_writable([_COUNTS, _PREDICTIONS, *others], whole=True)
    return folder


def write_counts(
    model: PhotoModel, counted: Sequence[PhotoCount], calibration: Calibration, folder: OwnFolder
) -> list[str]:
    """Write counts.csv, predictions.json, and one picture per image below `pictures`, in the same subfolders.

    Files of an earlier run that this one does not write again are removed: they show photos that were not counted now.

    Returns:
        Files of an earlier run that a person changed since, and that were therefore kept.
    """
    from agar_pipeline.reports.pictures import BoxLayer, draw_boxes, draw_circle, open_photo

    rows = count_rows(model, counted)
    pictures = [f"{_PICTURES}/{name}" for name in _picture_names([row["image"] for row in rows])]
    with folder.replacing([_COUNTS, _PREDICTIONS, *pictures], whole=True) as draft, progress_bar("drawing") as progress:
        with draft.path(_COUNTS).open("w", newline="") as stream:
            writer = csv.DictWriter(
                stream, [csv_cell(name) for name in ("image", "colonies", "low", "high", *model.class_names, "notes")]
            )
            writer.writeheader()
            writer.writerows(map(csv_row, rows))
        draft.path(_PREDICTIONS).write_text(json.dumps(counts_as_coco(model, counted, calibration)))
        for done, (picture, one) in enumerate(zip(pictures, counted, strict=True), start=1):
            photo, scale = open_photo(one.path, PICTURE_SIDE_PX)
            if one.circle is not None:
                photo = draw_circle(photo, scale, one.circle.in_pixels(one.size_wh[0]))
            layers = [BoxLayer(one.outside.boxes_xywh, "ignored"), BoxLayer(one.detections.boxes_xywh, "prediction")]
            drawn = draw_boxes(photo, scale, layers)
            drawn.save(draft.path(picture), quality=90)
            progress(done, len(rows))
    return draft.kept


def _picture_names(images: Sequence[str]) -> list[str]:
    """One JPEG for each image, named like it.

    >>> _picture_names(["day 1/a.jpg", "b.png"]), _picture_names(["b.png.jpg", "b.png"])
    (['day 1/a.jpg', 'b.png.jpg'], ['b.png.jpg.jpg', 'b.png.jpg'])
    """
    names = [name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg" for name in images]
    return names if len(set(names)) == len(names) else [f"{name}.jpg" for name in images]


def counts_as_coco(model: PhotoModel, counted: Sequence[PhotoCount], calibration: Calibration) -> dict[str, Any]:
    """Return all detections as COCO; each image also has its number of colonies, the notes about it, and the circle
    outside which nothing counts, in pixels.
    """
    from agar_pipeline.detection.inference.photo_folder import common_folder, to_coco

    root = common_folder([one.path for one in counted]) if counted else Path()
    coco = to_coco(model, counted, root, calibration)
    for image, one in zip(coco["images"], counted, strict=True):
        image["colonies"] = one.colonies
        image["interval"] = one.interval
        if one.circle is not None:
            x, y, radius = (round(value, 1) for value in one.circle.in_pixels(one.size_wh[0]))
            image["counted_circle"] = {"x": x, "y": y, "radius": radius}
        if one.notes:
            image["notes"] = list(one.notes)
    return coco


def count_rows(model: PhotoModel, counted: Sequence[PhotoCount]) -> list[dict[str, Any]]:
    """Return one row per photo: its path, the count, its interval (None: none), and the detections by class."""
    from agar_pipeline.detection.inference.photo_folder import common_folder, counts_by_class, place_of

    root = common_folder([one.path for one in counted]) if counted else Path()
    return [
        {
            "image": str(place_of(one.path).relative_to(root)),
            "colonies": one.colonies,
            "low": None if one.interval is None else one.interval[0],
            "high": None if one.interval is None else one.interval[1],
            **counts_by_class(model, one.detections),
            "notes": "; ".join(one.notes),
        }
        for one in counted
    ]
