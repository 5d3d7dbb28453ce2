"""Samples of dilution series on the terminal, for `agar predict --sheet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agar_pipeline.commands.terminal import echo, say

if TYPE_CHECKING:
    from agar_pipeline.counting.samples import Sample


def print_samples(samples: Sequence[Sample]) -> None:
    """Print one line per sample, then to stderr what a reader must know about its number."""
    from agar_pipeline.reports.cfu_words import interval, written

    level = f"{samples[0].estimate.level:.0%} interval"
    rows = [("sample", "CFU/ml", level, "colonies", "plates")]
    for sample in samples:
        found, plates = sample.estimate, f"{sample.used} of {len(sample.plates)}"
        rows.append((sample.name, written(found), interval(found), str(found.colonies), plates))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        echo("  ".join((f"{name:<{widths[0]}}", *padded)))
    for sample in samples:
        if sample.estimate.estimate:
            say(f"note: {sample.name} is an estimate: {sample.estimate.estimate}")
        for words in sample.estimate.warnings:
            say(f"warning: {sample.name}: {words}")
