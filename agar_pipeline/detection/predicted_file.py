"""Predictions in a COCO file of their own, as `agar predict` writes them, held against another COCO file.

Images are the same where their file names are, classes where their names are: both files number as they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.detection.class_agreement import agree_on_classes
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.detections import Detections
from agar_pipeline.detection.results_parse import parse_scored
from agar_pipeline.errors import AnnotationError


@dataclass(frozen=True)
class Predicted:
    """Predictions as detections on the images of a COCO file."""

    detections: Detections
    columns: CocoColumns
    """The file's, with the model's classes that it does not list as further categories."""
    notes: tuple[str, ...]
    """What is worth saying, a sentence each."""


def is_predicted(path: Path) -> bool:
    """Whether a JSON file holds an object, as a COCO file does, and not a list of results."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"{")


def read_predicted(path: Path, coco_json: Path, columns: CocoColumns) -> Predicted:
    """The scored annotations of a COCO file, held against another one.

    Raises:
        AnnotationError: it is no such file, its ids contradict each other, or the two list no image in common.
        TrainingError: they share no class.
    """
    fields, scores = parse_scored(path)
    own = CocoColumns(**fields)
    agreement = agree_on_classes(path, own.class_names, own.category_ids, coco_json, columns)
    rows, known = own.image_rows()
    if not known.all() or not np.isin(own.annotation_category_ids, own.category_ids).all():
        raise AnnotationError(f"{path}: annotations are of images or categories that it does not list: mend it")
    id_of = dict(zip(columns.file_names.tolist(), columns.image_ids.tolist(), strict=True))
    names = own.file_names.tolist()
    listed = np.array([name in id_of for name in names], dtype=bool)
    if not listed.any():
        there = f"{names[0]!r}" if names else "no image"
        raise AnnotationError(
            f"{path} and {coco_json} have no image in common, by their file_names: {there}, and {next(iter(id_of))!r}\n"
            "predict the folder that its file_names are relative to"
        )
    image_ids = np.array([id_of.get(name, 0) for name in names], dtype=np.int64)
    found = Detections(image_ids[rows], own.annotation_category_ids, own.boxes_xywh, scores)
    detections = agreement.renumber(found).take(np.flatnonzero(listed[rows]))
    return Predicted(detections, agreement.columns, (*agreement.notes, *_tell_images(coco_json, id_of, names)))


def _tell_images(coco_json: Path, listed: dict[str, int], predicted: list[str]) -> list[str]:
    absent, more = listed.keys() - set(predicted), set(predicted) - listed.keys()
    said = [f"{len(more)} predicted images are not in {coco_json.name} and do not count"] if more else []
    if absent:
        missed = f"{len(absent)} images of {coco_json.name} were not predicted"
        said.append(f"{missed}: all that is annotated on them counts as missed, first {min(absent)!r}")
    return said
