"""Lists pairs of duplicates across parts of the split, and applies the leakage policy to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from agar_pipeline.config import LeakageConfig
from agar_pipeline.splitting.duplicates import Duplicates

ALL_PAIRS = 50
"""Largest number of copies of one picture for which all pairs are listed: 1,000 copies have half a million pairs."""
PAIR_COLUMNS = [
    "kind", "across_parts", "image_id", "part", "path", "other_image_id", "other_part", "other_path", "distance",
]  # fmt: skip


def list_pairs(images: pd.DataFrame, parts: np.ndarray, duplicates: Duplicates) -> pd.DataFrame:
    """Build a table with one row per pair of duplicates among the images in parts, pairs across parts first.

    Args:
        images: N rows with image_id and, optionally, path.
        parts: (N,) objects: a part, or None.
        duplicates: Pairs of rows.

    Returns:
        Table with `PAIR_COLUMNS`; `distance` is the number of bits, of 256, in which the perceptual hashes differ; it
        is 0 for exact pairs.
    """
    exact, near, distances = _among_assigned(parts, duplicates)
    one, two = np.concatenate([exact, near]).T
    ids = images["image_id"].to_numpy()
    paths = images["path"].to_numpy(dtype=object) if "path" in images else np.full(len(images), "", dtype=object)
    table = pd.DataFrame(
        {
            "kind": np.repeat(np.array(["exact", "near"], dtype=object), [len(exact), len(near)]),
            "across_parts": np.array(parts[one] != parts[two], dtype=bool),
            "image_id": ids[one],
            "part": parts[one],
            "path": paths[one],
            "other_image_id": ids[two],
            "other_part": parts[two],
            "other_path": paths[two],
            "distance": np.concatenate([np.zeros(len(exact), dtype=np.int64), distances]),
        }
    )[PAIR_COLUMNS]
    order = ["across_parts", "kind", "distance", "image_id", "other_image_id"]
    return table.sort_values(order, ascending=[False, True, True, True, True]).reset_index(drop=True)


def count_copies(parts: np.ndarray, duplicates: Duplicates) -> dict[str, int]:
    """Count pairs of exact duplicates, those across parts, and the images in these; three copies are three pairs."""
    pairs = across = images = 0
    for rows in _copies(parts, duplicates):
        _, counts = np.unique(parts[rows].astype(str), return_counts=True)
        pairs += _pairs_of(len(rows))
        across += _pairs_of(len(rows)) - sum(_pairs_of(int(count)) for count in counts)
        images += len(rows) if len(counts) > 1 else 0
    return {"pairs": pairs, "across_parts": across, "images": images}


def _pairs_of(count: int) -> int:
    return count * (count - 1) // 2


def apply_leakage_policy(
    config: LeakageConfig, pairs: pd.DataFrame, copies: Mapping[str, int], cut: int
) -> dict[str, Any]:
    """Return counts for exact and near pairs, and whether the policy accepts them (`ok`), JSON-ready.

    Args:
        pairs: Result of `list_pairs`.
        copies: Result of `count_copies`.
        cut: Number of photos with more candidates than were compared.
    """
    near = pairs[pairs["kind"] == "near"]
    across = near[near["across_parts"]]
    images = len({*across["image_id"], *across["other_image_id"]})
    looked = {"pairs": len(near), "across_parts": len(across), "images": images, "cut": cut}
    plain: dict[str, Any] = {
        "exact": {"policy": config.exact, **copies},
        "near": {"policy": config.near, **looked},
    }
    plain["ok"] = not any(kind["policy"] == "fail" and kind["across_parts"] for kind in plain.values())
    return plain


def _among_assigned(parts: np.ndarray, duplicates: Duplicates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return exact pairs, near pairs and distances among images in parts.

    In near pairs an image that is left out is replaced by an exact copy that is in a part, if there is one.
    """
    assigned = np.array([part is not None for part in parts], dtype=bool)
    first = _first_copy(len(parts), duplicates.exact)
    stands_for = np.full(len(parts), -1)
    rows = np.flatnonzero(assigned)[::-1]
    stands_for[first[rows]] = rows  # the smallest row is written last
    exact = [pair for rows in _copies(parts, duplicates) for pair in _listed(rows, parts)]
    near = stands_for[first[duplicates.near]].reshape(-1, 2)
    there = (near >= 0).all(axis=1)
    exact_pairs = np.array(exact, dtype=np.int64).reshape(-1, 2)
    return exact_pairs, np.sort(near[there], axis=1), duplicates.distances[there]


def _listed(rows: np.ndarray, parts: np.ndarray) -> Iterable[tuple[int, int]]:
    """List the pairs of copies of one picture: all pairs for up to `ALL_PAIRS` copies.

    For more copies, only pairs of a later copy with the first copy of each part are listed.
    """
    if len(rows) <= ALL_PAIRS:
        return itertools.combinations(rows.tolist(), 2)
    firsts = {part: row for row, part in zip(rows[::-1].tolist(), parts[rows[::-1]], strict=True)}
    return [(min(one, row), max(one, row)) for row in rows.tolist() for one in firsts.values() if one < row]


def _copies(parts: np.ndarray, duplicates: Duplicates) -> list[np.ndarray]:
    first = _first_copy(len(parts), duplicates.exact)
    rows = np.flatnonzero(np.array([part is not None for part in parts], dtype=bool))
    rows = rows[np.argsort(first[rows], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(first[rows])) + 1)
    return [group for group in groups if len(group) > 1]


def _first_copy(count: int, exact: np.ndarray) -> np.ndarray:
    """Return, for each row, the smallest row that is connected to it by exact pairs; (N,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(exact)), (exact[:, 0], exact[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    smallest = np.full(count, count)
    np.minimum.at(smallest, component, np.arange(count))
    return smallest[component]
