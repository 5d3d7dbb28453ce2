"""From corrected counts and a sheet of dilutions to samples: `agar count --sheet`.

Here: which plate of the sheet is which counted plate. Not here: the sheet (`counting.sheet`), the estimates
(`counting.samples`), the files (`sample_files`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from agar_pipeline.counting.samples import PlateReading, Sample, estimate_samples
from agar_pipeline.counting.sheet import Sheet, read_sheet
from agar_pipeline.errors import SheetError
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.use_cases.corrected_counts import CountedLabels, Counts
from agar_pipeline.use_cases.corrections import Corrections
from agar_pipeline.use_cases.predicted_plates import PredictedPlates

CORRECTED = "corrected by a person"
_SHOWN = 3


def read_sheet_of(path: Path, source: PredictedPlates) -> Sheet:
    """Read a sheet whose photos are looked for in the folders of the counted plates.

    Raises:
        SheetError: as `read_sheet`; or a photo is not one of the counted plates.
    """
    folders = list(dict.fromkeys([source.images_dir, *(photo.parent for photo in source.photos)]))
    return read_sheet(path, folders)


def samples_of(
    sheet: Sheet,
    source: PredictedPlates,
    found: Corrections,
    counts: Counts,
    labels: CountedLabels,
    countable: tuple[int, int],
) -> list[Sample]:
    """Estimate the samples of a sheet from the counts.

    Raises:
        SheetError: a photo of the sheet is not one of the counted plates.
    """
    readings = {
        os.path.realpath(source.images_dir / plate.image): PlateReading(
            count.colonies,
            low=None if count.interval is None else count.interval[0],
            high=None if count.interval is None else count.interval[1],
            boxes_xywh=boxes.boxes_xywh[labels.mask(boxes.labels)],
            notes=(CORRECTED,) if plate.is_corrected else (),
        )
        for plate, count in zip(found.plates, counts.plates, strict=True)
        for boxes in [plate.inside(plate.boxes)]
    }
    of_rows = {row.photo: readings.get(os.path.realpath(row.photo)) for row in sheet.rows}
    unknown = [photo.name for photo, reading in of_rows.items() if reading is None]
    if unknown:
        raise SheetError(
            f"lists {plural(len(unknown), 'photo')} not among the counted plates ({len(readings)}): "
            f"{name_some(unknown, _SHOWN)}",
            where=sheet.path,
            next_step="remove these lines, or count these photos with `agar predict` as well",
        )
    return estimate_samples(sheet, {photo: one for photo, one in of_rows.items() if one is not None}, countable)


def counted_by(source: PredictedPlates, samples: Sequence[Sample]) -> str:
    """Who or what counted, as the rest of a sentence that begins with `Counted by`."""
    readings = [plate.reading for sample in samples for plate in sample.plates if plate.reading is not None]
    corrected = sum(CORRECTED in reading.notes for reading in readings)
    by_person = f", and {CORRECTED} on {corrected} of {plural(len(readings), 'plate')}" if corrected else ""
    return f"the detector (dataset {source.dataset}, field {source.fields.name}){by_person}"
