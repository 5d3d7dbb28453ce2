"""Types in which a source passes its images and boxes: batches of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Boxes:
    """Columns of B boxes."""

    labels: pa.Array
    """(B,) strings; null for a missing label."""
    boxes_rel_xywh: np.ndarray
    """(B, 4) float64 shares of the image, unchecked; NaN for a missing number."""
    iscrowd: np.ndarray
    """(B,) bool."""
    attributes: pa.Array
    """(B,) JSON texts with sorted keys; null for a box without other attributes."""
    boxes_xywh: np.ndarray | None = None
    """(B, 4) float64 pixels as written, unchecked, if the source has pixels; the shares are then derived from them."""


@dataclass(frozen=True)
class Columns:
    """Columns of a batch of S samples with B boxes."""

    sample_ids: pa.Array
    """(S,) strings, the ids of the samples in their source, ascending over all batches."""
    paths: pa.Array
    """(S,) strings, relative to the images' folder."""
    sizes_wh: np.ndarray
    """(S, 2) float64 width and height in pixels according to the source; NaN if it does not state them."""
    boxes_per_sample: np.ndarray
    """(S,) int64 number of boxes of each sample."""
    boxes: Boxes
    labelled: np.ndarray
    """(S,) bool: whether somebody has labelled the sample; an empty list of boxes counts as labelled."""
