"""Draws parts with a seed so that each part gets its share of every class, or of every value of a field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from agar_pipeline.config import Part, Spellings, SplitConfig
from agar_pipeline.splitting.random_draw import drawn_parts

NOTHING = "\0nothing"
"""Name of the stratum of empty plates, or of missing values."""


def labels_of(config: SplitConfig, images: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the strata of each image: its classes, or the value of a field; each image has at least one."""
    if config.stratify_by != "class":
        values = images[str(config.stratify_by)].to_list()
        return [(NOTHING if is_missing(value) else str(value),) for value in values]
    labels = {str(label) for row in images["labels"] for label in row}
    match = Spellings(config.class_map).match(sorted(labels))
    names = {label: match.class_name(label) for label in labels}
    return [tuple(sorted({names[str(label)] for label in row})) or (NOTHING,) for row in images["labels"]]


def is_missing(value: object) -> bool:
    """Whether a value is None, NaN, `pd.NA`, or an empty text."""
    return value is None or value == "" or value != value or value is pd.NA


def label_counts(labels: Sequence[tuple[str, ...]], unit_of: np.ndarray, units: int) -> np.ndarray:
    """Count the images of each unit in each stratum; (U, L), with strata sorted by name.

    >>> label_counts([("a", "b"), ("b",), ("a",)], np.array([0, 0, 1]), 2)
    array([[1, 2],
           [1, 0]])
    """
    names = sorted({label for row in labels for label in row})
    column = {name: place for place, name in enumerate(names)}
    counts = np.zeros((units, len(names)), dtype=np.int64)
    for unit, row in zip(unit_of.tolist(), labels, strict=True):
        for label in row:
            counts[unit, column[label]] += 1
    return counts


def draw_stratified(sizes: np.ndarray, counts: np.ndarray, fractions: Mapping[Part, float], seed: int) -> np.ndarray:
    """Assign units to parts by iterative stratification: rarest stratum first, each unit to the part that lacks most.

    The algorithm is that of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD
    2011, algorithm 1, for units that can have several images (the largest units first). There is one change: if no part
    lacks a whole unit of a stratum, the remaining units go to the part that lacks the largest share of its images.
    Otherwise the rounding errors of many small strata would add up: of 100 strata of three images at 0.8/0.2, val would
    get 100 images instead of 60.

    Args:
        sizes: (U,) number of images in each unit, sorted by the units' keys.
        counts: (U, L) images of each unit in each stratum; every unit is in at least one.
        fractions: Share of each part; they sum to 1.
        seed: Seed of the order of equal units.

    Returns:
        (U,) part of each unit.
    """
    parts, shares = drawn_parts(fractions)
    return parts[fill_shares(shares, sizes, counts, seed)]


def fill_shares(shares: np.ndarray, sizes: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Assign units to K places with these (K,) shares, as `draw_stratified` does; returns the (U,) place of each."""
    lacking = shares[:, None] * counts.sum(axis=0)
    wanted = shares * sizes.sum()
    room = wanted.copy()
    rank = np.random.default_rng(seed).permutation(len(sizes))
    waiting = np.ones(len(sizes), dtype=bool)
    drawn = np.empty(len(sizes), dtype=np.int64)
    while waiting.any():
        left = counts[waiting].sum(axis=0)
        stratum = int(np.argmin(np.where(left > 0, left, left.max() + 1)))
        members = np.flatnonzero(waiting & (counts[:, stratum] > 0))
        for unit in members[np.lexsort((rank[members], -counts[members, stratum]))].tolist():
            wish = lacking[:, stratum]
            part = int(np.argmax(wish if wish.max() >= counts[unit, stratum] else room / wanted))
            drawn[unit] = part
            lacking[part] -= counts[unit]
            room[part] -= sizes[unit]
        waiting[members] = False
    return drawn
