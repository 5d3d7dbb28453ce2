"""Finds pairs of photos that are, or look, the same, without a Python loop over all pairs.

Near duplicates are found in two steps. First, perceptual hashes select candidates. This is not sufficient, because
plates under the same camera look alike: the hash of a plate with few small colonies differs from that of an empty plate
by only some bits. Second, the thumbnails of candidates, each scaled to zero mean and unit variance, are compared pixel
by pixel: thumbnails of the same picture differ by at most one or two tenths of a standard deviation, while a single
colony that is only in one of them differs by more.
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
from agar_pipeline.progress import Progress
from agar_pipeline.splitting.picture_hashes import (
    LOOK_SIDE_PX,
    Picture,
    hash_words,
    look_at,
    see_pictures,
    shrink,
)

BLOCK = 512
NEAREST = 32
"""Largest number of candidates of one photo that are compared, those with the nearest hashes. Without this limit 4,431
photos of empty plates would need 10 million comparisons."""


@dataclass(frozen=True)
class Duplicates:
    """Pairs of rows, the smaller row first; each pair is either exact or near."""

    exact: np.ndarray
    """(P, 2) pairs with the same bytes or the same pixels; for more than two copies, enough pairs to connect them."""
    near: np.ndarray
    """(Q, 2) pairs that look the same."""
    distances: np.ndarray
    """(Q,) number of bits, of 256, in which the hashes of each near pair differ."""
    cut: int = 0
    """Number of photos with more than `NEAREST` candidates, of which only the nearest were compared."""

    @property
    def all_pairs(self) -> np.ndarray:
        return np.concatenate([self.exact, self.near])


NO_DUPLICATES = Duplicates(
    np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
)


def find_duplicates(
    config: SplitConfig, paths: Sequence[Path], sha256: Sequence[str | None], home: Path, progress: Progress
) -> Duplicates:
    """Find all exact duplicates and, if the config asks for them, near duplicates.

    Args:
        paths: (N,) paths of the photos.
        sha256: (N,) hashes of their files; null for a missing file, which is not compared.
        home: Folder of the cache of perceptual hashes.
        progress: Called with the number of processed photos and their total number.
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
    """Find pairs of hashes that differ in at most `threshold` bits, at most the `NEAREST` nearest of each row.

    Blocks of rows are compared by Hamming distance (XOR, then count the bits). All-zero rows are not compared.

    Args:
        hashes: (N, 4) uint64.
        threshold: Largest number of differing bits, of 256.

    Returns:
        (P, 2) pairs of rows, (P,) numbers of differing bits, and the number of rows with more than `NEAREST` pairs.

    >>> pairs, bits, cut = nearest_hashes(np.array([[1] * 4, [1, 1, 1, 3], [2**63] * 4], np.uint64), threshold=2)
    >>> pairs.tolist(), bits.tolist(), cut
    ([[0, 1]], [1], 0)
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
    """Return those pairs whose pixels are identical at full size; all given pairs are identical when decoded small."""
    rows = np.unique(pairs).tolist()
    with open_pool() as pool:
        digests = dict(zip(rows, pool.map(_hash_pixels, (paths[row] for row in rows)), strict=True))
    return {(one, two) for one, two in pairs.tolist() if digests[one] == digests[two]}


def _hash_pixels(path: Path) -> bytes:
    from agar_pipeline.photos.eight_bits import upright

    with open_image(path) as image:
        photo = upright(image).convert("RGB")
    return hashlib.sha256(repr(photo.size).encode() + photo.tobytes()).digest()


def compare_looks(
    paths: Sequence[Path], pictures: Sequence[Picture], pairs: np.ndarray, difference: float
) -> tuple[np.ndarray, np.ndarray]:
    """Determine for each pair whether its thumbnails look alike, and whether the photos may be identical.

    The thumbnails have the size of the smaller photo's, because a copy with fewer pixels has lost the finest detail.

    Args:
        paths: (N,) paths of the photos; a photo is opened again if it is compared with a smaller one.
        pictures: (N,) hashes and thumbnails of the photos.
        pairs: (P, 2) rows.
        difference: Largest difference at any pixel, in standard deviations of the photo's brightness.

    Returns:
        (P,) bool: alike, and (P,) bool: possibly identical; both are False if a photo cannot be decoded.
    """
    thumbs: dict[tuple[int, int], np.ndarray] = {}
    alike, same = np.zeros(len(pairs), dtype=bool), np.zeros(len(pairs), dtype=bool)
    for place, (one, two) in enumerate(pairs.tolist()):
        side_px = min(pictures[one].side_px, pictures[two].side_px)
        if not side_px:
            continue
        for row in (one, two):
            if (row, side_px) not in thumbs:
                thumbs[row, side_px] = _thumb(paths[row], pictures[row], side_px)
        same[place] = pictures[one].content == pictures[two].content
        alike[place] = same[place] or np.abs(thumbs[one, side_px] - thumbs[two, side_px]).max() <= difference
    return alike, same


def _thumb(path: Path, picture: Picture, side_px: int) -> np.ndarray:
    """Return the thumbnail as (side, side) float32 with zero mean and unit variance, averaged over 3×3 pixels."""
    small = picture.pixels
    if picture.side_px != side_px:
        gray = look_at(path, LOOK_SIDE_PX)
        small = bytes(side_px * side_px) if gray is None else shrink(gray, side_px)
    pixels = np.frombuffer(small, dtype=np.uint8).reshape(side_px, side_px).astype(np.float32)
    padded = np.pad((pixels - pixels.mean()) / np.sqrt(pixels.var() + 1), 1, mode="edge")
    shifted = [padded[i : i + side_px, j : j + side_px] for i in range(3) for j in range(3)]
    return np.sum(shifted, axis=0) / 9
