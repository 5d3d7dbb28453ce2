"""What a source hands over of its images and boxes, column by column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Boxes:
    """B boxes, column by column."""

    labels: pa.Array
    """(B,) strings; null where there is none."""
    boxes_rel_xywh: np.ndarray
    """(B, 4) float64, unchecked; NaN where no number is stored."""
    iscrowd: np.ndarray
    """(B,) bool."""
    attributes: pa.Array
    """(B,) JSON with sorted keys; null where there is nothing else."""
    boxes_xywh: np.ndarray | None = None
    """(B, 4) float64, unchecked, as written, where the source has pixels and the shares are only derived."""


@dataclass(frozen=True)
class Columns:
    """A batch of S samples with B boxes."""

    sample_ids: pa.Array
    """(S,) strings, ascending over all batches: what a sample is called in its source."""
    paths: pa.Array
    """(S,) strings, relative to the images' folder."""
    sizes_wh: np.ndarray
    """(S, 2) float64 as the source says; NaN where it does not."""
    boxes_per_sample: np.ndarray
    """(S,) int64."""
    boxes: Boxes
    labelled: np.ndarray
    """(S,) bool: whether somebody has looked. A sample without boxes is labelled where it has an empty list of them."""
