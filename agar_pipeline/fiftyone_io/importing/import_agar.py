"""Imports plates in AGAR's format into a FiftyOne dataset with unchanged labels, for the demo and the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource, Progress
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.import_images import import_images


def import_agar(
    images_dir: Path, dataset: str, database: str, home: Path, log: Callable[[str], None], progress: Progress
) -> ImportCounts:
    return import_images(ImportSource("agar", str(images_dir)), dataset, database, home, log, progress)
