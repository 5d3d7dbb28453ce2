"""Draws parts at random or by hash, for units that stay together (single images, or groups of images)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import get_args

import numpy as np

from agar_pipeline.config import Part


def drawn_parts(fractions: Mapping[Part, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the K parts with a positive share, in the order train, val, test, and their shares; both (K,)."""
    parts = [part for part in get_args(Part) if fractions.get(part, 0) > 0]
    return np.array(parts, dtype=object), np.array([fractions[part] for part in parts])


def draw_random(units: np.ndarray, sizes: np.ndarray, fractions: Mapping[Part, float], seed: int) -> np.ndarray:
    """Shuffle the sorted units with a seed, and cut them at the rounded cumulated fractions of the images.

    Args:
        units: (U,) unique text keys, sorted.
        sizes: (U,) number of images in each unit. A unit across a cut is assigned by the position of its middle.
        fractions: Share of each part; they sum to 1.

    Returns:
        (U,) part of each unit.

    >>> drawn = draw_random(np.arange(4431).astype(str), np.ones(4431, int), {"train": 0.8, "val": 0.2}, seed=1)
    >>> int((drawn == "train").sum()), int((drawn == "val").sum())
    (3544, 887)
    """
    parts, shares = drawn_parts(fractions)
    images = int(sizes.sum())
    cuts = np.floor(np.cumsum(shares) * images + 1e-9)
    cuts[-1:] = images
    shuffled = np.random.default_rng(seed).permutation(len(units))
    ends = np.cumsum(sizes[shuffled])
    drawn = np.empty(len(units), dtype=object)
    drawn[shuffled] = parts[np.searchsorted(cuts, ends - sizes[shuffled] / 2, side="right")]
    return drawn


def draw_hash(units: np.ndarray, fractions: Mapping[Part, float], seed: int) -> np.ndarray:
    """Assign each unit to a part by a hash of its own key, so that other units have no influence on it.

    The key is hashed to a number in [0, 1), which selects the part by the cumulated shares. The sizes of the parts are
    therefore exact only on average: of n units, a part with share p gets n·p, with standard deviation √(n·p·(1 − p)).

    The same holds for each stratum: a hash split is stratified only on average. An exact stratification is impossible,
    because added images must not move an existing one, so that its part cannot depend on other images of its stratum.
    If the stratum were hashed, too, correcting a label would move an existing image.

    Args:
        units: (U,) text keys.
        fractions: Share of each part; they sum to 1.
        seed: Number that is hashed together with each key.

    Returns:
        (U,) part of each unit.
    """
    parts, shares = drawn_parts(fractions)
    cuts = np.cumsum(shares)
    cuts[-1:] = 1
    numbers = np.array([_share(f"{seed}\n{key}") for key in units.tolist()], dtype=np.float64)
    return parts[np.searchsorted(cuts, numbers, side="right")]


def _share(salted: str) -> float:
    return (int.from_bytes(hashlib.sha256(salted.encode()).digest()[:8]) >> 11) * 2.0**-53
