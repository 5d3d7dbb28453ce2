"""What the photos of val and train show, for a calibration: where colonies count, and what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import CountingConfig
from agar_pipeline.counting.dish import Circle
from agar_pipeline.counting.likeness import TrainingLikeness, fit_likeness, measure_training
from agar_pipeline.counting.region import Region, find_region
from agar_pipeline.progress import Log
from agar_pipeline.scoring.count_rule import CountRule


@dataclass(frozen=True)
class PhotoStudy:
    """Facts that need the pixels of photos."""

    region: Region
    """Where colonies count."""
    circles: list[Circle | None]
    """The circle of each photo of val outside which nothing counts; None: all of it counts."""
    likeness: TrainingLikeness | None
    """None without a training photo."""


def study_photos(
    config: CountingConfig,
    val: CocoColumns,
    train: CocoColumns | None,
    images_dir: Path,
    log: Log | None = None,
) -> PhotoStudy:
    """Read photos of val and train at a small scale.

    Args:
        config: The section `counting` of the pipeline.
        val: The annotations of val.
        train: The annotations of train; None if there are none.
        images_dir: Folder that `file_name` is relative to.
    """
    counted = CountRule(classes=config.classes)
    region, circles = find_region(config.region, counted.annotated(val), images_dir, log)
    measured = [] if train is None else measure_training(counted.annotated(train), images_dir, log)
    return PhotoStudy(region, circles, fit_likeness(measured))
