"""Joins a sheet of plates with what was counted on their photos: from a sheet and readings to samples.

A `PlateReading` comes from a model (`agar predict --sheet`) or from boxes that a person corrected; its notes say which,
and the arithmetic is the same. Here: grouping. Not here: reading the sheet (`sheet`), arithmetic (`cfu`),
the files (`sample_files`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agar_pipeline.config import CountingConfig
from agar_pipeline.counting.cfu import LEVEL, SampleEstimate, estimate_sample
from agar_pipeline.counting.plate_count import PlateCount
from agar_pipeline.counting.sheet import Sheet, SheetRow

COUNTABLE = CountingConfig.countable
"""Where no pipeline and no calibration says another range."""


@dataclass(frozen=True)
class PlateReading:
    """What was counted on one photo."""

    count: int
    """Colonies."""
    low: int | None = None
    """Lower end of the interval of the count; None: it has none."""
    high: int | None = None
    boxes_xywh: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    """(N, 4) of the counted colonies, in pixels of the upright photo, for its picture."""
    notes: tuple[str, ...] = ()
    """What a reader should know about the count, such as `corrected by a person`."""


@dataclass(frozen=True)
class SamplePlate:
    """One plate of a sample."""

    row: SheetRow
    reading: PlateReading | None
    """None: the photo could not be read."""
    left_out: str
    """Why it did not enter the estimate; empty if it did."""


@dataclass(frozen=True)
class Sample:
    """A sample, its plates from the least to the most diluted one, and its colony-forming units."""

    name: str
    plates: tuple[SamplePlate, ...]
    estimate: SampleEstimate

    @property
    def used(self) -> int:
        """How many plates entered the estimate."""
        return sum(not plate.left_out for plate in self.plates)


def estimate_samples(
    sheet: Sheet,
    readings: Mapping[Path, PlateReading],
    countable: tuple[int, int] = COUNTABLE,
    level: float = LEVEL,
) -> list[Sample]:
    """Estimate all samples of a sheet, in the order of their first rows.

    Args:
        sheet: Of `read_sheet`.
        readings: By the `photo` of the sheet's rows; a plate without one could not be read.
        countable: Smallest and largest count of a countable plate, both inclusive.
        level: Of the intervals.
    """
    groups: dict[str, list[SheetRow]] = {}
    for row in sheet.rows:
        groups.setdefault(row.sample, []).append(row)
    samples = []
    for name, unsorted in groups.items():
        rows = sorted(unsorted, key=lambda row: -row.dilution)
        estimate = estimate_sample([_plate_count(row, readings.get(row.photo)) for row in rows], countable, level)
        plates = zip(rows, estimate.reasons, strict=True)
        samples.append(Sample(name, tuple(SamplePlate(r, readings.get(r.photo), why) for r, why in plates), estimate))
    return samples


def _plate_count(row: SheetRow, reading: PlateReading | None) -> PlateCount:
    if reading is None:
        return PlateCount(row.dilution, row.volume_ml, None)
    return PlateCount(row.dilution, row.volume_ml, reading.count, reading.low, reading.high)
