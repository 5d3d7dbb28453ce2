"""Which photos are the same, and which look the same: pairs of rows, found without a loop over pairs.

Near duplicates are found in two steps. Perceptual hashes propose candidates; but plates under one camera look alike,
and the hash of a plate with few small colonies differs from that of an empty one by some bits only. So candidates are
compared locally: two thumbnails, each scaled to zero mean and unit variance, may nowhere differ by more than a tenth
or two of their contrast, while a single colony that only one of them has differs by more.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.cluster.partitions import open_pool
from agar_pipeline.config import SplitConfig
from agar_pipeline.photos.formats import open_image
from agar_pipeline.splitting.looks import compare_looks
from agar_pipeline.splitting.picture_hashes import Progress, hash_words, see_pictures

BLOCK = 512
NEAREST = 32
"""Candidates of one photo that are looked at, those of the nearest hashes; more would make 10 million comparisons of
4,431 photos of empty plates."""


@dataclass(frozen=True)
class Duplicates:
    """Pairs of rows, the smaller row first; each pair in one of the two."""

    exact: np.ndarray
    """(P, 2): the same bytes, or the same pixels. Of more than two alike, enough pairs to connect them."""
    near: np.ndarray
    """(Q, 2)."""
    distances: np.ndarray
    """(Q,) differing bits of 256 of each near pair."""
    cut: int = 0
    """Photos with more candidates than `NEAREST`, of which only the nearest were looked at."""

    @property
    def all_pairs(self) -> np.ndarray:
        return np.concatenate([self.exact, self.near])


NO_DUPLICATES = Duplicates(
    np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
)


def find_duplicates(
    config: SplitConfig, paths: Sequence[Path], sha256: Sequence[str | None], home: Path, progress: Progress
) -> Duplicates:
    """All exact and, where the config asks for them, near duplicates.

    Args:
        config: What matters, and the thresholds.
        paths: (N,) the photos.
        sha256: (N,) of their files; null where a file is missing: nothing is known of what it shows.
        home: Remembers hashes.
        progress: Told how many of how many photos are looked at.
    """
    first_of: dict[str, int] = {}
    there = [(row, digest) for row, digest in enumerate(sha256) if isinstance(digest, str)]
    exact = [(first, row) for row, digest in there if (first := first_of.setdefault(digest, row)) != row]
    if not config.looks_at_pictures:
        return dataclasses.replace(NO_DUPLICATES, exact=_pairs(exact))
    rows = np.array(sorted(first_of.values()), dtype=np.int64)
    own = [paths[row] for row in rows]
    pictures = see_pictures(own, [str(sha256[row]) for row in rows], home, progress)
    pairs, distances, cut = nearest_hashes(hash_words(pictures), config.leakage.threshold)
    alike, same = compare_looks(own, pictures, pairs, config.leakage.difference)
    same_pixels = _same_pixels(own, pairs[same])
    is_exact = np.array([(one, two) in same_pixels for one, two in pairs[alike].tolist()], dtype=bool)
    near = rows[pairs[alike]].reshape(-1, 2)
    return Duplicates(_pairs([*exact, *near[is_exact].tolist()]), near[~is_exact], distances[alike][~is_exact], cut)


def _pairs(pairs: Sequence[Sequence[int]]) -> np.ndarray:
    return np.array(sorted(map(tuple, pairs)), dtype=np.int64).reshape(-1, 2)


def nearest_hashes(hashes: np.ndarray, threshold: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs of hashes that differ in at most `threshold` bits, and in how many; of each row the nearest ones.

    The third is the number of rows that have more than those.

    Rows are compared block against block (Hamming distance: XOR, count the bits); all-zero rows are no hashes.

    Args:
        hashes: (N, 4) uint64.
        threshold: Bits of 256.
    """
    real: np.ndarray = (hashes != 0).any(axis=1)
    found: list[np.ndarray] = []
    cut = 0
    for start in range(0, len(hashes), BLOCK):
        block, rest = hashes[start : start + BLOCK], hashes[start:]
        bits = np.zeros((len(block), len(rest)), dtype=np.uint16)
        for word in range(hashes.shape[1]):
            bits += np.bitwise_count(block[:, word, None] ^ rest[None, :, word])
        one, two = np.nonzero(bits <= threshold)
        keep = (two > one) & real[one + start] & real[two + start]
        one, two = one[keep], two[keep]
        order = np.lexsort((two, bits[one, two], one))
        one, two = one[order], two[order]
        rank = np.arange(len(one)) - np.searchsorted(one, one)
        cut += int(np.count_nonzero(rank == NEAREST))
        one, two = one[rank < NEAREST], two[rank < NEAREST]
        found.append(np.stack([one + start, two + start, bits[one, two]], axis=1).astype(np.int64))
    rows = np.concatenate(found or [np.zeros((0, 3), dtype=np.int64)])
    return rows[:, :2], rows[:, 2], cut


def _same_pixels(paths: Sequence[Path], pairs: np.ndarray) -> set[tuple[int, int]]:
    """Of pairs whose small looks are identical: those whose whole pictures are."""
    rows = np.unique(pairs).tolist()
    with open_pool() as pool:
        digests = dict(zip(rows, pool.map(_hash_pixels, (paths[row] for row in rows)), strict=True))
    return {(one, two) for one, two in pairs.tolist() if digests[one] == digests[two]}


def _hash_pixels(path: Path) -> bytes:
    from agar_pipeline.photos.pixels import upright

    with open_image(path) as image:
        photo = upright(image).convert("RGB")
    return hashlib.sha256(repr(photo.size).encode() + photo.tobytes()).digest()
