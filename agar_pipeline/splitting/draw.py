"""Parts drawn by chance or by hash, for units (images, or groups of images) that stay together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import get_args

import numpy as np

from agar_pipeline.config import Part


def drawn_parts(fractions: Mapping[Part, float]) -> tuple[np.ndarray, np.ndarray]:
    """The parts that get a share, in the order train, val, test, and their shares; both (K,)."""
    parts = [part for part in get_args(Part) if fractions.get(part, 0) > 0]
    return np.array(parts, dtype=object), np.array([fractions[part] for part in parts])


def draw_random(units: np.ndarray, sizes: np.ndarray, fractions: Mapping[Part, float], seed: int) -> np.ndarray:
    """A seeded shuffle of the sorted units, cut at the rounded cumulated fractions of the images.

    Args:
        units: (U,) unique text keys, sorted.
        sizes: (U,) images in each. A unit that lies across a cut goes where its middle lies.
        fractions: Share of each part; they sum to 1.
        seed: Of the shuffle.

    Returns:
        (U,) the part of each. 4,431 units of one image at 0.8/0.2 give 3,544 and 887.
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
    """A part per unit from a hash of its own key alone, so that no other unit can move it.

    The key is hashed to a number in [0, 1); the part is the one into whose share it falls. The sizes of the parts are
    therefore right on average only: of n units a part of share p gets n·p, give or take √(n·p·(1 − p)).

    The same holds in each stratum, whatever it is: hash splits are stratified on average, and cannot be more. For if
    adding images may never move an image, its part among many is its part alone, so it cannot depend on who else is
    in its stratum; and if the stratum were hashed too, correcting a label would move an old image.

    Args:
        units: (U,) text keys.
        fractions: Share of each part; they sum to 1.
        seed: Salts the hash.
    """
    parts, shares = drawn_parts(fractions)
    cuts = np.cumsum(shares)
    cuts[-1:] = 1
    numbers = np.array([_share(f"{seed}\n{key}") for key in units.tolist()], dtype=np.float64)
    return parts[np.searchsorted(cuts, numbers, side="right")]


def _share(salted: str) -> float:
    """A number in [0, 1) of 53 bits, evenly spread."""
    return (int.from_bytes(hashlib.sha256(salted.encode()).digest()[:8]) >> 11) * 2.0**-53
