"""The printable page of samples: their colony-forming units, and each plate with its picture.

Here: wording and pictures. Not here: the estimates (`counting.samples`), how numbers are written (`cfu_words`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from agar_pipeline.counting.samples import Sample, SamplePlate
from agar_pipeline.errors import ImageFileError
from agar_pipeline.progress import Progress
from agar_pipeline.reports.cfu_words import count_words, interval, written
from agar_pipeline.reports.pictures import BoxLayer, picture_with_boxes
from agar_pipeline.reports.render import write_page
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.powers_of_ten import dilution

PICTURE_SIDE_PX = 560
_PICTURE_BYTES = 80_000


def write_samples_page(
    path: Path,
    samples: Sequence[Sample],
    countable: tuple[int, int],
    counted_by: str,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the page.

    Args:
        samples: As `estimate_samples` returns them.
        countable: The range that they were estimated with.
        counted_by: What or who counted, as the rest of a sentence that begins with `Counted by`.
        progress: Called after each plate with the numbers of plates done and of all plates.
    """
    plates, numbers = sum(len(sample.plates) for sample in samples), count(1)

    def shown(plate: SamplePlate) -> dict[str, Any]:
        plain = _plate(plate)
        progress(next(numbers), plates)
        return plain

    values = {
        "title": "Colony-forming units",
        "headline": f"{plural(len(samples), 'sample')}, {plural(plates, 'plate')}.",
        "subline": f"Counted by {counted_by}. Plates with {countable[0]} to {countable[1]} colonies are countable.",
        "level": f"{samples[0].estimate.level:.0%}".replace("%", " %"),
        "samples": [_sample(sample) | {"plates": list(map(shown, sample.plates))} for sample in samples],
    }
    write_page(path, "samples.html.j2", values)


def _sample(sample: Sample) -> dict[str, Any]:
    found = sample.estimate
    return {
        "name": sample.name,
        "cfu": written(found),
        "headline": "No plate could be read" if found.cfu_per_ml is None else f"{written(found)} CFU/ml",
        "interval": interval(found),
        "colonies": found.colonies,
        "colonies_words": f"{plural(found.colonies, 'colony', 'colonies')} on {sample.used} of "
        + plural(len(sample.plates), "plate"),
        "used": f"{sample.used} of {len(sample.plates)}",
        "estimate": found.estimate,
        "warnings": found.warnings,
    }


def _plate(plate: SamplePlate) -> dict[str, Any]:
    row, reading = plate.row, plate.reading
    uri, note = "", "The photo cannot be shown."
    if reading is not None:
        try:
            layers = [BoxLayer(reading.boxes_xywh, "prediction")]
            uri = picture_with_boxes(row.photo, layers, PICTURE_SIDE_PX, max_bytes=_PICTURE_BYTES)
        except ImageFileError as error:
            note = error.in_one_line
    return {
        "name": row.photo.name,
        "uri": uri,
        "note": note,
        "dilution": dilution(row.dilution),
        "volume": f"{row.volume_ml:g} ml",
        "replicate": row.replicate,
        "count": f"{count_words(reading)} {'colony' if reading.count == 1 else 'colonies'}"
        if reading
        else "not counted",
        "left_out": plate.left_out,
        "notes": reading.notes if reading else (),
    }
