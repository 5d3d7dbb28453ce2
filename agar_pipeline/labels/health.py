"""Statistics of the annotations: plates, classes, and colony sizes at several scales of the photos.

Here: figures, JSON-ready. Not here: rules (`box_rules`), the sentences about the figures (`reports.health_words`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agar_pipeline.coco.box_sizes import box_shares
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.labels.colony_scale import choose_scale, measure_sizes

SHOWN_INPUT_SIZES = (512, 800, 1024, 2048)
"""Longer sides of the model's input for which sizes are given, pixels; 800 is torchvision's default."""
SMALL_QUANTILE = 0.05
"""Quantile of the sides that is given as the size of a small colony."""
SMALLEST_ANCHOR_PX = 32
"""Smallest anchor of torchvision's detectors by default; here anchors are fitted to the data unless the config sets
them.
"""
LEAST_MATCHED_PX = SMALLEST_ANCHOR_PX / 2**0.5
"""A square box with a smaller side has an IoU below 0.5 with the smallest anchor in any position."""


def measure_health(parts: Mapping[str, CocoColumns]) -> dict[str, Any]:
    """Plates, classes and sizes over all parts; null if there is nothing to measure."""
    photos = {name: part.without_crowds().in_photo_pixels() for name, part in parts.items()}
    chosen = photos.get("train") or next(iter(photos.values()), None)
    return {
        "colonies_per_plate": _plates(photos),
        "class_balance": _classes(photos),
        "colony_sizes": _sizes(photos, choose_scale(measure_sizes(chosen)) if chosen is not None else None),
    }


def _plates(parts: Mapping[str, CocoColumns]) -> dict[str, Any]:
    counts = np.concatenate([part.boxes_per_image() for part in parts.values()] or [np.zeros(0)])
    if not len(counts):
        return {"median": None, "most": None, "empty": 0, "over_300": 0}
    return {
        "median": float(np.median(counts)),
        "most": int(counts.max()),
        "empty": int((counts == 0).sum()),
        "over_300": int((counts > 300).sum()),
    }


def _classes(parts: Mapping[str, CocoColumns]) -> dict[str, Any]:
    totals: dict[str, int] = {}
    for part in parts.values():
        ids, counts = np.unique(part.annotation_category_ids, return_counts=True)
        count_of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        for category_id, name in zip(part.category_ids.tolist(), part.class_names, strict=True):
            totals[name] = totals.get(name, 0) + count_of.get(category_id, 0)
    present = {name: count for name, count in totals.items() if count}
    most, least = (
        (max(present, key=present.__getitem__), min(present, key=present.__getitem__)) if present else (None,) * 2
    )
    return {
        "most_frequent": most,
        "rarest": least,
        "ratio": present[most] / present[least] if most is not None and least is not None else None,
        "absent": [name for name, count in totals.items() if not count],
    }


def _sizes(parts: Mapping[str, CocoColumns], chosen: int | None) -> dict[str, Any]:
    """Sides are square roots of the boxes' areas; an input size is the longer side of the image that the model gets."""
    shares = np.concatenate([box_shares(part) for part in parts.values()] or [np.zeros(0)])
    if not len(shares):
        return {"photo_side_px": None, "at_input_size": {}, "chosen_scale": None}
    photo_side = float(np.median(np.concatenate([part.sizes_wh.max(axis=1) for part in parts.values()])))
    sizes = sorted({*SHOWN_INPUT_SIZES, *([chosen] if chosen else [])})
    at = {str(size): _at(shares * size) for size in sizes}
    del shares
    in_photo = np.concatenate([box_shares(part, of_image=False) for part in parts.values()])
    return {
        "photo_side_px": photo_side,
        "in_photo": _at(in_photo),
        "at_input_size": at,
        "smallest_anchor_px": SMALLEST_ANCHOR_PX,
        "chosen_scale": chosen,
    }


def _at(sides_px: np.ndarray) -> dict[str, float]:
    below = float((sides_px < LEAST_MATCHED_PX).mean())
    small, middle = np.quantile(sides_px, [SMALL_QUANTILE, 0.5], overwrite_input=True).tolist()
    return {"median_px": round(middle, 2), "small_px": round(small, 2), "below_anchor_share": round(below, 4)}
