"""Predicts plain photos one after the other, for `agar predict`, which has no COCO file.

Here: finding photos, continuing after one that cannot be read. Not here: the model (`predict`), printing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.counting.dish import Circle
from agar_pipeline.counting.photo_features import PixelFeatures, measure_photo, measure_pixels, small_copy
from agar_pipeline.errors import DatasetError, ImageFileError
from agar_pipeline.ownership.made_list import made_below
from agar_pipeline.photos.folder_walk import PassedOver, walk_files, without_twins
from agar_pipeline.photos.formats import READ, is_photo
from agar_pipeline.progress import Progress
from agar_pipeline.scoring.counted_area import inside
from agar_pipeline.scoring.suppression import suppress_across_classes


class PhotoModel(Protocol):
    """A model that finds colonies on a photo: a `Predictor`, or an exported model."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of `category_ids`."""

    @property
    def category_ids(self) -> np.ndarray:
        """(K,) ascending."""

    @property
    def calibration(self) -> Calibration:
        """How its detections become counts, if nothing else is given."""

    def read(self, path: Path) -> Any:
        """Load a photo for the model; called in a thread while the model predicts another photo.

        It has `size_wh`, `notes` and `pixels_hwc`.
        """

    def detect(self, photo: Any, score_threshold: float) -> Detections:
        """Detections of one loaded photo, with image_id 0, in its pixels; none with a score of the threshold or more is
        lost.
        """


@dataclass(frozen=True)
class PhotoCount:
    """One photo and its detections."""

    path: Path
    size_wh: tuple[int, int]
    """Pixels, as displayed."""
    detections: Detections
    """Those that the calibration keeps and that lie where colonies count, of all classes, highest score first."""
    colonies: int
    """Number of detections whose class counts."""
    interval: tuple[int, int] | None = None
    """Lowest and highest true count; None: no interval was calibrated."""
    notes: tuple[str, ...] = ()
    """Reasons why the count may mislead: those of `PlainPhoto`, of the dish, what is unlike the training photos, and a
    count above the countable range."""
    circle: Circle | None = None
    """Outside it nothing counts."""
    outside: Detections = field(default_factory=lambda: Detections.concatenate([]))
    """Those that the calibration keeps outside the circle."""


def find_photos(given: Sequence[Path], passed_over: PassedOver | None = None) -> list[Path]:
    """List the photos among files and folders; folders are searched recursively and sorted; each photo is listed once.

    A file with the name of a photo is listed, readable or not. Pictures that `agar predict` drew in such a folder are
    not.

    Args:
        given: Files, which are listed whatever their names are, and folders.
        passed_over: Records what is hidden in the folders.

    Raises:
        DatasetError: a path does not exist, or a folder contains no photo.
    """
    found: dict[Path, None] = {}
    passed_over = PassedOver() if passed_over is None else passed_over
    for path in given:
        if path.is_dir():
            drawn = made_below(path, "predict")
            photos = [file for file in walk_files(path, passed_over) if is_photo(file.name) and file not in drawn]
            if not photos:
                raise DatasetError(
                    f"holds no photo ({', '.join(sorted(READ))})", where=path, next_step="give another folder"
                )
            found |= dict.fromkeys(without_twins(sorted(photos), passed_over))
        elif path.exists():
            found[path] = None
        else:
            raise DatasetError("does not exist", where=path, next_step="give photos, or folders of photos")
    return list(found)


def count_photos(
    model: PhotoModel,
    paths: Sequence[Path],
    calibration: Calibration,
    progress: Progress = lambda done, total: None,
) -> Iterator[PhotoCount | ImageFileError]:
    """Yield each photo's detections and count, or the error if it could not be read.

    The next photo is decoded while the model predicts the current one.
    """
    names = names_of(model)
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(_read, model, paths[0], calibration) if paths else None
        for place, path in enumerate(paths):
            assert coming is not None
            now, coming = coming, None
            if place + 1 < len(paths):
                coming = reader.submit(_read, model, paths[place + 1], calibration)
            try:
                photo = now.result()
            except ImageFileError as error:
                yield error
            else:
                found = suppress_across_classes(model.detect(photo.decoded, calibration.rule.least_of_all))
                yield _count(path, photo, found, calibration, names)
            progress(place + 1, len(paths))


@dataclass(frozen=True)
class _ReadPhoto:
    """A decoded photo, with what the reading thread measured on it before the model runs."""

    decoded: Any
    circle: Circle | None
    pixels: PixelFeatures | None


def _read(model: PhotoModel, path: Path, calibration: Calibration) -> _ReadPhoto:
    photo, region, likeness = model.read(path), calibration.region, calibration.likeness
    if region.use != "dish" and likeness is None:
        return _ReadPhoto(photo, region.circle, None)
    small = small_copy(photo.pixels_hwc)
    return _ReadPhoto(photo, region.circle_on(small), measure_pixels(small) if likeness else None)


def _count(
    path: Path, photo: _ReadPhoto, found: Detections, calibration: Calibration, names: dict[int, str]
) -> PhotoCount:
    size_wh, circle, rule = photo.decoded.size_wh, photo.circle, calibration.rule
    kept = rule.keep(found, names)
    kept = kept.take(np.argsort(-kept.scores, kind="stable"))
    is_inside = np.ones(len(kept), bool) if circle is None else inside(kept.boxes_xywh, circle.in_pixels(size_wh[0]))
    outside, kept = kept.take(np.flatnonzero(~is_inside)), kept.take(np.flatnonzero(is_inside))
    colonies = rule.colonies(kept, names)
    notes = [*photo.decoded.notes, *calibration.region.notes(circle, len(rule.colonies(outside, names)))]
    if calibration.likeness:
        unlike = calibration.likeness.unlike(measure_photo(size_wh, colonies.boxes_xywh, photo.pixels))
        notes += [f"unlike the training photos: {'; '.join(unlike)}"] if unlike else []
    if over := calibration.range_note(len(colonies)):
        notes.append(over)
    interval = calibration.interval(len(colonies))
    return PhotoCount(path, size_wh, kept, len(colonies), interval, tuple(notes), circle, outside)


def names_of(model: PhotoModel) -> dict[int, str]:
    """category_id → class."""
    return dict(zip(model.category_ids.tolist(), model.class_names, strict=True))


def place_of(path: Path) -> Path:
    """The absolute path of a photo without `..`: a photo has one place, wherever it is named from.

    >>> place_of(Path("/data/a/../b/1.jpg")).as_posix()
    '/data/b/1.jpg'
    """
    path = path.absolute()
    return path.parent.resolve() / path.name if ".." in path.parts else path


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that contains all of the paths.

    >>> common_folder([Path("/data/a/1.jpg"), Path("/data/b/2.jpg")]).as_posix()
    '/data'
    """
    return Path(os.path.commonpath([place_of(path).parent for path in paths]))


def counts_by_class(model: PhotoModel, detections: Detections) -> dict[str, int]:
    """Class name → number of detections."""
    return {
        name: int(np.count_nonzero(detections.category_ids == category_id))
        for category_id, name in names_of(model).items()
    }


def to_coco(model: PhotoModel, counted: Sequence[PhotoCount], root: Path, calibration: Calibration) -> dict[str, Any]:
    """A COCO file with the photos as images and the detections as annotations with a `score`; ids start at 1.

    `info` has the folder that the file names are relative to, and what counts as a colony, for `agar count`.
    """
    images = [
        {
            "id": number,
            "file_name": str(place_of(one.path).relative_to(root)),
            "width": one.size_wh[0],
            "height": one.size_wh[1],
        }
        for number, one in enumerate(counted, start=1)
    ]
    results = [
        {**result, "image_id": number}
        for number, one in enumerate(counted, start=1)
        for result in one.detections.to_coco()
    ]
    annotations = [
        {"id": number, **result, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
        for number, result in enumerate(results, start=1)
    ]
    return {
        "info": {"images_dir": str(root), "counting": calibration.to_plain()},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": category_id, "name": name} for category_id, name in names_of(model).items()],
    }
