"""The files of a dilution series: samples.csv, with numbers that are not rounded, and the printable samples.html.

They need the samples only, so they are the same for counts of a model and for counts that a person corrected. Here: the
rows of the table, and writing both files. Not here: the estimates (`counting.samples`), the page (`samples_page`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agar_pipeline.counting.samples import Sample, SamplePlate
from agar_pipeline.progress import progress_bar
from agar_pipeline.reports.cfu_words import count_words, written
from agar_pipeline.text.powers_of_ten import dilution
from agar_pipeline.text.safe_text import csv_row

if TYPE_CHECKING:
    from agar_pipeline.ownership.folders import OwnFolder

TABLE, PAGE = "samples.csv", "samples.html"
SAMPLE_FILES = (TABLE, PAGE)


def write_samples(samples: Sequence[Sample], folder: OwnFolder, countable: tuple[int, int], counted_by: str) -> None:
    """Write samples.csv and samples.html.

    Args:
        samples: As `estimate_samples` returns them, one at least.
        folder: For which `require_writable(SAMPLE_FILES)` passed before the counting.
        countable: The range that they were estimated with.
        counted_by: What or who counted, as the rest of a sentence that begins with `Counted by`.
    """
    from agar_pipeline.reports.samples_page import write_samples_page

    rows = sample_rows(samples)
    with folder.replacing(SAMPLE_FILES) as draft:
        with draft.path(TABLE).open("w", newline="", encoding="utf-8-sig") as stream:  # so that Excel reads it as UTF-8
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(map(csv_row, rows))
        with progress_bar("drawing") as progress:
            write_samples_page(draft.path(PAGE), samples, countable, counted_by, progress)


def sample_rows(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return one row per sample, as plain values that JSON and CSV can carry; null where there is no number."""
    return [
        {
            "sample": sample.name,
            "relation": sample.estimate.relation,
            "cfu_per_ml": _number(sample.estimate.cfu_per_ml),
            "low": _number(sample.estimate.low),
            "high": _number(sample.estimate.high),
            "level": sample.estimate.level,
            "reported": written(sample.estimate),
            "colonies": sample.estimate.colonies,
            "plates_used": "; ".join(_words(plate) for plate in sample.plates if not plate.left_out),
            "plates_left_out": "; ".join(f"{_words(p)}: {p.left_out}" for p in sample.plates if p.left_out),
            "estimate": "yes" if sample.estimate.estimate else "no",
            "why_estimate": sample.estimate.estimate,
            "warnings": "; ".join(sample.estimate.warnings),
        }
        for sample in samples
    ]


def _words(plate: SamplePlate) -> str:
    return f"{plate.row.photo.name} ({dilution(plate.row.dilution)}, {count_words(plate.reading)})"


def _number(value: float | None) -> float | None:
    """Round to 12 digits, which removes the error of the last binary digits."""
    return None if value is None else float(f"{value:.12g}")
