"""`agar predict --sheet`: from a sheet to the photos that it lists, and from a model's counts of them to its samples.

Not here: the files (`sample_files`), samples of counts that a person corrected, which need no model (`samples`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agar_pipeline.counting.samples import PlateReading, Sample, estimate_samples
from agar_pipeline.counting.sheet import Sheet, read_sheet
from agar_pipeline.text.name_list import name_some

if TYPE_CHECKING:
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, PhotoModel
    from agar_pipeline.photos.folder_walk import PassedOver

_SHOWN = 3


def open_sheet(path: Path, images: Sequence[Path], passed_over: PassedOver) -> tuple[Sheet, list[str]]:
    """Read a sheet whose photos may be in the folders of a command line.

    Args:
        images: Photos, and folders of photos; the sheet may list photos relative to each folder.
        passed_over: Records what is hidden in the folders.

    Returns:
        The sheet, and notes: on its columns and names, and on photos that it does not list.

    Raises:
        SheetError: it cannot be read, or a photo does not exist.
        DatasetError: an image does not exist, or a folder contains no photo.
    """
    from agar_pipeline.detection.inference.photo_folder import find_photos

    given = find_photos(images, passed_over)
    sheet = read_sheet(path, list(dict.fromkeys(image if image.is_dir() else image.parent for image in images)))
    listed = {os.path.realpath(photo) for photo in sheet.photos}
    others = [photo.name for photo in given if os.path.realpath(photo) not in listed]
    if not others:
        return sheet, list(sheet.notes)
    note = f"{path.name} does not list {name_some(others, _SHOWN)}: not counted"
    return sheet, [*sheet.notes, note]


def estimate_counted(
    sheet: Sheet, model: PhotoModel, counted: Sequence[PhotoCount], calibration: Calibration
) -> list[Sample]:
    """Estimate the samples of a sheet from what a model counted on its photos.

    Args:
        sheet: Of `open_sheet`.
        model: Knows the names of the classes.
        counted: Its photos; a plate without one could not be read.
        calibration: With which they were counted.
    """
    from agar_pipeline.detection.inference.photo_folder import names_of

    names, readings = names_of(model), {}
    for one in counted:
        boxes_xywh = calibration.rule.colonies(one.detections, names).boxes_xywh
        low, high = one.interval or (None, None)
        readings[one.path] = PlateReading(one.colonies, low, high, boxes_xywh, one.notes)
    return estimate_samples(sheet, readings, calibration.countable)
