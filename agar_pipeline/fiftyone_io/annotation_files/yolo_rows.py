"""Reads the rows of YOLO text files as boxes, boxes with keypoints, or polygons, as declared or as only one fits.

A row with keypoints and a row with a polygon can look alike: both are a class number and an even number of shares.
Here: the content of rows. Not here: the files (`yolo_files`), the declarations of the data set (`yolo_classes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agar_pipeline.errors import AnnotationError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import OR_REMOVE, finite_number
from agar_pipeline.fiftyone_io.annotation_files.yolo_classes import Declared
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.text_files import TextFileError, read_lines

_LARGEST_SHARE = 2.0
"""Largest absolute value of a box's shares; boxes that extend beyond the image are handled later."""
_POLYGON_SLACK = 0.5
"""Share of the image by which a rotated box may extend beyond it; a larger value is a visibility or a track number."""
_SLACK = 1e-3
_MEND = "correct the row, or remove the file with its image"
_POLYGON_TASKS = frozenset({"segment", "obb"})


@dataclass(frozen=True)
class Row:
    """A class number and the numbers after it."""

    class_number: int
    numbers: list[float]
    ends_whole: bool = False
    """Whether the last number is written without a decimal point, as a track number is."""


@dataclass
class RowBoxes:
    """Class numbers, boxes and confidences from the rows of one file."""

    classes: list[int] = field(default_factory=list)
    boxes_rel_xywh: list[list[float]] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)


def read_rows(path: Path, classes: int, names_path: Path) -> list[Row]:
    """Read the rows of a file.

    Raises:
        AnnotationError: A row is invalid independent of any declaration; the message names the first one.
    """
    try:
        written = [line.split() for line in read_lines(path) if line.strip()]
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path, OR_REMOVE)) from error
    rows = []
    for place, (class_number, *numbers) in enumerate(written, start=1):
        where = f"{path}: row {place}"
        if len(numbers) < 4:
            raise AnnotationError(
                f"has {plural(len(numbers) + 1, 'column')}, but needs 5 or more: class, x and y of the centre, width, "
                "height",
                where=where,
                next_step=_MEND,
            )
        if not (class_number.isascii() and class_number.isdigit() and int(class_number) < classes):
            raise AnnotationError(
                f"has the class {class_number[:20]!r}, but {names_path} names 0 to {classes - 1}",
                where=where,
                next_step="correct the number, or add the name of the class",
            )
        shares = [_number(text) for text in numbers]
        wrong = next((i for i, share in enumerate(shares) if share is None or _is_too_large(i, share)), None)
        if wrong is not None:
            raise AnnotationError(
                f"has the value {numbers[wrong][:20]!r}, which is not a share of the image, 0 to 1",
                where=where,
                next_step="write shares in place of pixels, or remove the file with its image",
            )
        rows.append(Row(int(class_number), [share for share in shares if share is not None], numbers[-1].isdigit()))
    return rows


def _number(text: str) -> float | None:
    try:
        return finite_number(float(text))
    except ValueError:
        return None


def _is_too_large(place: int, share: float) -> bool:
    """Whether a share of a box is too large; later numbers can be an angle or a track number, and pass here."""
    return place < 4 and abs(share) > _LARGEST_SHARE


class RowReader:
    """Turns rows into boxes, with the only interpretation that is possible for all rows of a data set."""

    def __init__(self, files: Iterable[Sequence[Row]], declared: Declared) -> None:
        self.declared = declared
        self.keypoints = self.polygons = 0
        rows = [row for file in files for row in file]
        long = [row for row in rows if len(row.numbers) > 5]
        self._no_confidence = next(
            (r.numbers[4] for r in rows if len(r.numbers) == 5 and not _is_one(r.numbers[4])), None
        )
        self._others = [] if self._is_declared else list(_other_readings(long))

    @property
    def _is_declared(self) -> bool:
        return self.declared.keypoints is not None or self.declared.task in _POLYGON_TASKS

    def boxes_of(self, path: Path, rows: Sequence[Row]) -> RowBoxes:
        """Return the classes and boxes of a file.

        Raises:
            AnnotationError: A row does not match the declarations, or has two possible interpretations.
        """
        boxes = RowBoxes()
        for place, row in enumerate(rows, start=1):
            if error := self._refuse(row, f"{path}: row {place}"):
                raise error
            boxes.classes.append(row.class_number)
            boxes.boxes_rel_xywh.append(self._box(row.numbers))
            boxes.confidences.append(row.numbers[4] if len(row.numbers) == 5 else None)
        return boxes

    def notes(self) -> list[str]:
        """Return sentences about keypoints and polygons that were reduced to boxes."""
        said = []
        if self.keypoints:
            said.append(
                f"{plural(self.keypoints, 'box has', 'boxes have')} keypoints ({self.declared.spell_keypoints()}), "
                "which are not imported"
            )
        if self.polygons:
            polygons = plural(self.polygons, "polygon is", "polygons are")
            said.append(f"{polygons} imported, the box around each")
        return said

    def _refuse(self, row: Row, where: str) -> AnnotationError | None:
        count = len(row.numbers)
        if (count <= 5 or self.declared.keypoints is not None) and min(row.numbers[2:4]) < 0:
            return AnnotationError(
                f"has a width and height of {row.numbers[2]:g} and {row.numbers[3]:g}, but a side cannot be negative",
                where=where,
                next_step=_MEND,
            )
        if count == 4:
            return None
        if count == 5:
            if self._no_confidence is None:
                return None
            return AnnotationError(
                "has a sixth column, which may be a confidence of 0 to 1 or an angle; the value "
                f"{self._no_confidence:g} of one row is not a confidence",
                where=where,
                next_step="export rotated boxes as four corners, or as upright boxes",
            )
        if self.declared.keypoints is not None:
            points, values = self.declared.keypoints
            if count == 4 + points * values:
                return None
            return AnnotationError(
                f"has {count + 1} columns, but {self.declared.spell_keypoints()} needs {5 + points * values}",
                where=where,
                next_step="correct kpt_shape, or the row",
            )
        return self._refuse_polygon(row, where)

    def _refuse_polygon(self, row: Row, where: str) -> AnnotationError | None:
        count = len(row.numbers)
        if self.declared.task == "detect":
            return AnnotationError(
                f"has {count + 1} columns, but {self.declared.path} declares task: detect, which has 5 or 6",
                where=where,
                next_step="correct the task, or the row",
            )
        if self.declared.task == "pose":
            return AnnotationError(
                f"has {count + 1} columns, and {self.declared.path} declares task: pose without kpt_shape",
                where=where,
                next_step="add kpt_shape: [number of keypoints, 2 or 3]",
            )
        if not _is_polygon(row):
            shapes = " or ".join(_spell_keypoints(count)) or "no shape fits"
            return AnnotationError(
                f"has {count + 1} columns, and is neither a box, with or without a confidence, nor a polygon of shares "
                "from 0 to 1",
                where=where,
                next_step=f"correct the row, or declare its keypoints in data.yaml (kpt_shape: {shapes})",
            )
        if self._others:
            return AnnotationError(
                f"has two possible meanings: the {count // 2} points of a polygon, or {' or '.join(self._others)}",
                where=where,
                next_step="declare kpt_shape or task: segment in data.yaml",
            )
        return None

    def _box(self, numbers: list[float]) -> list[float]:
        if len(numbers) > 5 and self.declared.keypoints is None:
            self.polygons += 1
            points = np.reshape(numbers, (-1, 2))
            (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
            return [left, top, right - left, bottom - top]
        self.keypoints += len(numbers) > 5
        x, y, width, height = numbers[:4]
        return [x - 0.5 * width, y - 0.5 * height, width, height]


def _other_readings(long: Sequence[Row]) -> Iterable[str]:
    """Yield the interpretations other than polygons that are possible for all these rows."""
    counts = {len(row.numbers) for row in long}
    if len(counts) != 1 or all(_is_parallelogram(row.numbers) for row in long):
        return
    (count,) = counts
    for values in (2, 3):
        if (count - 4) % values == 0 and all(_has_keypoints(row.numbers, values) for row in long):
            yield f"a box with {plural(points := (count - 4) // values, 'keypoint')} (kpt_shape: [{points}, {values}])"
    if count == 6 and all(row.ends_whole and _is_one(row.numbers[4]) for row in long):
        yield "a box with a confidence and the number of a track"


def _is_one(share: float) -> bool:
    return 0 <= share <= 1


def _is_polygon(row: Row) -> bool:
    shares = np.array(row.numbers)
    return len(shares) % 2 == 0 and bool((shares >= -_POLYGON_SLACK).all() and (shares <= 1 + _POLYGON_SLACK).all())


def _is_parallelogram(numbers: list[float]) -> bool:
    """Whether the numbers are four corners of a parallelogram: a rotated box, in shares of an image of any size."""
    if len(numbers) != 8:
        return False
    points = np.reshape(numbers, (4, 2))
    return bool(np.abs(points[0] + points[2] - points[1] - points[3]).max() < 10 * _SLACK)


def _has_keypoints(numbers: list[float], values: int) -> bool:
    """Whether the row can be a box inside the image, with all keypoints inside the box or missing (0, 0)."""
    x, y, width, height = numbers[:4]
    low, high = np.array([x - width / 2, y - height / 2]), np.array([x + width / 2, y + height / 2])
    if width <= 0 or height <= 0 or (low < -_SLACK).any() or (high > 1 + _SLACK).any():
        return False
    points = np.reshape(numbers[4:], (-1, values))
    if values == 3 and not np.isin(points[:, 2], (0, 1, 2)).all():
        return False
    inside = ((points[:, :2] >= low - _SLACK) & (points[:, :2] <= high + _SLACK)).all(axis=1)
    return bool((inside | (points[:, :2] == 0).all(axis=1)).all())


def _spell_keypoints(count: int) -> list[str]:
    return [f"[{(count - 4) // values}, {values}]" for values in (2, 3) if count > 4 and (count - 4) % values == 0]
