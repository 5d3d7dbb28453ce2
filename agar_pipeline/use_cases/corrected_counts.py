"""Counts per plate from predicted or corrected boxes, and their files: counts.csv, and COCO annotations.

Not here: which boxes a person changed (`corrections`), printing (`commands`).
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agar_pipeline.config import Spellings
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.errors import DatasetError
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.ownership.originals import Originals
from agar_pipeline.ownership.single_files import replacing_files
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import csv_cell
from agar_pipeline.use_cases.corrections import KINDS, Corrections, Plate
from agar_pipeline.use_cases.predicted_plates import PredictedPlates

PURPOSE, COUNTS = "count", "counts.csv"


@dataclass(frozen=True)
class CountedPlate:
    """The count of one plate."""

    image: str
    colonies: int
    interval: tuple[int, int] | None
    """Lowest and highest true count; None: a person counted the plate, or no interval was calibrated."""
    predicted: int
    """The count before the correction; the same as `colonies` if nobody corrected the plate."""
    by_class: dict[str, int]
    """Class name → number of boxes; also classes that do not count as colonies."""
    source: Literal["corrected", "predicted"]
    changes: dict[str, int]
    """`KINDS` → number of boxes, in this order, with zeros."""

    def to_plain(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Counts:
    """The counts of all plates, and which labels were not those of a class."""

    plates: list[CountedPlate]
    notes: list[str]


class CountedLabels:
    """Which labels of boxes count as colonies, and which class each of them means."""

    def __init__(self, plates: Iterable[Plate], class_names: Sequence[str], counted: Collection[str]) -> None:
        """Args:
        plates: All plates, because a label is looked up beside all others (see `Spellings`).
        class_names: The classes of the detector.
        counted: Those that count as colonies. If these are all, boxes with other labels count, too: a person has drawn
            a colony of a class that the detector does not know.
        """
        labels = {label for plate in plates for label in plate.boxes.labels}
        self.class_names = list(class_names)
        self.match = Spellings({name: number for number, name in enumerate(class_names)}).match(labels)
        self._counted, self._all_count = set(counted), set(counted) == set(class_names)

    def class_of(self, label: Any) -> Any:
        """Name of the class that a label means; the label itself, perhaps None, if it means none."""
        return self.match.class_name(label) if isinstance(label, str) else label

    def mask(self, labels: Iterable[Any]) -> np.ndarray:
        """(B,) bool: whether a box with this label counts."""
        return np.array([self._all_count or self.class_of(label) in self._counted for label in labels], dtype=bool)

    def notes(self, labels: Counter[Any]) -> list[str]:
        """Name the labels that are not those of a class; label → number of boxes."""
        box, boxes = ("box does not count", "boxes do not count")
        if self._all_count:
            box, boxes = ("box counts as a colony of no class", "boxes count as colonies of no class")
        unknown = [(label, count) for label, count in labels.items() if self.class_of(label) not in self.class_names]
        return [
            *self.match.tell_merged(),
            *(f"{plural(count, box, boxes)}: {self.match.explain_unknown(label)}" for label, count in unknown),
        ]


def count_plates(found: Corrections, labels: CountedLabels, calibration: Calibration) -> Counts:
    """Count the boxes of each plate; the counts of plates that nobody corrected have the calibration's intervals."""
    rows, all_labels, outside = [], Counter[Any](), 0
    for plate in found.plates:
        boxes, predicted = plate.inside(plate.boxes), plate.inside(plate.predicted)
        all_labels.update(boxes.labels)
        outside += len(plate.boxes.labels) - len(boxes.labels)
        of_class = Counter(labels.class_of(label) for label in boxes.labels)
        now, before = (int(labels.mask(some.labels).sum()) for some in (boxes, predicted))
        by_class = {name: of_class[name] for name in labels.class_names}
        changes = {str(kind): plate.changes.get(kind, 0) for kind in KINDS}
        source: Literal["corrected", "predicted"] = "corrected" if plate.is_corrected else "predicted"
        interval = None if plate.is_corrected else calibration.interval(now)
        rows.append(CountedPlate(plate.image, now, interval, before, by_class, source, changes))
    note = [f"{plural(outside, 'box does', 'boxes do')} not count: outside the dish"] if outside else []
    return Counts(rows, [*labels.notes(all_labels), *note])


def write_counts(counts: Counts, class_names: Sequence[str], folder: OwnFolder) -> None:
    """Write counts.csv: one row per plate.

    Raises:
        StorageError: a file that is not ours would be replaced; nothing was written.
    """
    header = ["image", "colonies", "low", "high", "source", "predicted", *KINDS, *class_names]
    with folder.replacing([COUNTS]) as draft, draft.path(COUNTS).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(csv_cell, header))
        for plate in counts.plates:
            changes, classes = plate.changes.values(), plate.by_class.values()
            count = (plate.colonies, *(plate.interval or (None, None)))
            writer.writerow(map(csv_cell, [plate.image, *count, plate.source, plate.predicted, *changes, *classes]))


def write_annotations(source: PredictedPlates, plates: Sequence[Plate], path: Path) -> tuple[int, int]:
    """Write the boxes of these plates as COCO annotations, which have no scores.

    Returns:
        The numbers of images and boxes.

    Raises:
        DatasetError: a box has a label that is not one of the classes; nothing was written.
        StorageError: a file that is not ours would be replaced; nothing was written.
    """
    coco = as_annotations(source, plates)
    with replacing_files([path], PURPOSE, Originals(source.photos)) as places:
        places[path].write_text(json.dumps(coco))
    return len(coco["images"]), len(coco["annotations"])


def as_annotations(source: PredictedPlates, plates: Sequence[Plate]) -> dict[str, Any]:
    """Return a COCO file; ids of images and annotations start at 1."""
    match = Spellings(source.categories).match(label for plate in plates for label in plate.boxes.labels)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, plate in enumerate(plates, start=1):
        width, height = plate.size_wh
        images.append({"id": number, "file_name": plate.image, "width": width, "height": height})
        boxes = plate.inside(plate.boxes)
        for label, box in zip(boxes.labels, boxes.boxes_xywh.tolist(), strict=True):
            if label not in match.category_ids:
                raise DatasetError(
                    f"has a box of no class ({match.explain_unknown(label)}); nothing was exported",
                    where=f"{plate.image} in dataset {source.dataset!r}",
                    next_step=f"give the box one of these labels in FiftyOne: {', '.join(source.categories)}",
                )
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": match.category_ids[label]}
            annotations.append(annotation | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": category_id, "name": name} for name, category_id in source.categories.items()]
    info = {"description": f"corrected predictions of {source.fields.name}", "images_dir": str(source.images_dir)}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}
