"""What was seen in overlapping tiles becomes one plate again.

The middle lines of the overlaps divide the plate into cores, one per tile. A tile owns the detections
whose centre is in its core. A colony no larger than the overlap whose centre is in a core is whole in that core's tile,
and where another tile shows it cut, the cut box's centre lies outside that tile's core: a perfect detector's boxes are
kept once each, however crowded the plate, without a threshold on their overlap.

Real boxes jitter by pixels, so that near a middle line two tiles may both own a colony, or neither. There, within
`PAIR_SHARE` of the overlap, all that both tiles saw is paired one to one, best overlap first; of each pair one is
kept, and so is what only a tile that does not own it saw within `KEEP_SHARE`. Different colonies are never paired:
both tiles saw both of them, and a box overlaps itself most. Nothing away from the seams is touched.
"""

from __future__ import annotations

import numpy as np

from agar_pipeline.detection.models.tiles import TileGrid

KEEP_SHARE = 0.0625
"""How far outside its core a tile may keep what the owner missed, as a share of the overlap."""
PAIR_SHARE = 2 * KEEP_SHARE
"""Half-width of the zone in which neighbours are compared: what is kept just inside the other finds its partner."""
PAIR_IOU = 0.5
"""Boxes of neighbouring tiles that overlap less are different colonies."""
COVERED_SHARE = 0.7
"""A cut box of which a larger one of another tile covers more is a piece of that colony."""
TOUCH_PX = 1.0
"""A box that ends this near to an inner border of its tile is taken for cut."""


def largest_exact_side(overlap: int) -> float:
    """Largest colony, pixels, for which the seams are proven: it and the zone on either side fit the overlap."""
    return overlap * (1 - 2 * PAIR_SHARE) - 2 * TOUCH_PX


def least_overlap(side: float) -> int:
    """Inverse of `largest_exact_side`."""
    return int(np.ceil((side + 2 * TOUCH_PX) / (1 - 2 * PAIR_SHARE)))


def merge_tiles(
    grid: TileGrid, tile_index: np.ndarray, boxes_xyxy: np.ndarray, labels: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Which of all tiles' detections are the plate's.

    Args:
        grid: The tiles.
        tile_index: (D,) the tile that a detection was made in.
        boxes_xyxy: (D, 4) pixels of the plate.
        labels: (D,); boxes of two labels are never paired, as NMS within a tile would not either.
        scores: (D,).

    Returns:
        Rows that are kept, ascending.
    """
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    owned, keepable, comparable = (
        _near_own_core(grid, tile_index, centres, share * grid.overlap) for share in (0, KEEP_SHARE, PAIR_SHARE)
    )
    cut = _find_cut(grid, tile_index, boxes_xyxy)
    candidates = np.flatnonzero(comparable & ~cut)
    leaders = _group(candidates, _pairs(grid, candidates, tile_index, boxes_xyxy, centres, labels), tile_index)
    best = _best_of_groups(candidates, leaders, owned, scores)
    best = best[keepable[best]]
    pieces = np.flatnonzero(owned & cut)
    kept = np.concatenate([best, pieces[~_is_covered(pieces, best, tile_index, boxes_xyxy)]])
    return np.sort(kept)


def _near_own_core(grid: TileGrid, tile_index: np.ndarray, centres: np.ndarray, margin: float) -> np.ndarray:
    """(D,) whether a detection is in the core of the tile that it was made in, or at most `margin` from it."""
    near = np.zeros(len(centres), bool)
    for tile in np.unique(tile_index):
        rows = np.flatnonzero(tile_index == tile)
        near[rows] = grid.near_core(centres[rows], int(tile), margin)
    return near


def _find_cut(grid: TileGrid, tile_index: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(D,) whether a box ends at a border of its tile that is no border of the plate."""
    tiles = grid.tiles_xyxy[tile_index]
    inner = np.concatenate([tiles[:, :2] > 0, tiles[:, 2:] < np.array(grid.size_wh)], axis=1)
    return (inner & (np.abs(boxes_xyxy - tiles) <= TOUCH_PX)).any(axis=1)


def _pairs(
    grid: TileGrid,
    candidates: np.ndarray,
    tile_index: np.ndarray,
    boxes_xyxy: np.ndarray,
    centres: np.ndarray,
    labels: np.ndarray,
) -> list[tuple[int, int]]:
    """Candidates of two tiles that may be the same colony, best overlap first; both lie near both cores."""
    of_tile = {int(tile): candidates[tile_index[candidates] == tile] for tile in np.unique(tile_index[candidates])}
    firsts, seconds, overlaps = [], [], []
    margin = PAIR_SHARE * grid.overlap
    for a, b in grid.neighbours(margin):
        if a not in of_tile or b not in of_tile:
            continue
        rows_a = of_tile[a][grid.near_core(centres[of_tile[a]], b, margin)]
        rows_b = of_tile[b][grid.near_core(centres[of_tile[b]], a, margin)]
        iou = box_iou(boxes_xyxy[rows_a], boxes_xyxy[rows_b])
        i, j = np.nonzero((iou >= PAIR_IOU) & (labels[rows_a][:, None] == labels[rows_b][None]))
        firsts.append(rows_a[i])
        seconds.append(rows_b[j])
        overlaps.append(iou[i, j])
    if not firsts:
        return []
    order = np.argsort(-np.concatenate(overlaps).round(6), kind="stable")  # equal ones stay tile by tile
    return list(zip(np.concatenate(firsts)[order].tolist(), np.concatenate(seconds)[order].tolist(), strict=True))


def box_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """(A, 4), (B, 4) → (A, B) intersection over union."""
    shared = _intersections(a_xyxy, b_xyxy)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a_xyxy, b_xyxy)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def _intersections(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2)


def _group(candidates: np.ndarray, pairs: list[tuple[int, int]], tile_index: np.ndarray) -> dict[int, int]:
    """Candidate → the first member of its group. A group has at most one detection of each tile."""
    leader = {int(row): int(row) for row in candidates}
    members = {int(row): [int(row)] for row in candidates}
    for a, b in pairs:
        first, second = leader[a], leader[b]
        tiles = [int(tile_index[row]) for row in (*members[first], *members[second])]
        if first == second or len(set(tiles)) < len(tiles):
            continue
        for row in members[second]:
            leader[row] = first
        members[first] += members.pop(second)
    return leader


def _best_of_groups(
    candidates: np.ndarray, leader: dict[int, int], owned: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """One row of each group: an owner before others, then the surest, then the first."""
    leaders = np.array([leader[int(row)] for row in candidates], dtype=np.int64)
    order = np.lexsort((candidates, -scores[candidates], ~owned[candidates], leaders))
    first = np.ones(len(order), bool)
    first[1:] = leaders[order][1:] != leaders[order][:-1]
    return candidates[order[first]]


def _is_covered(pieces: np.ndarray, whole: np.ndarray, tile_index: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(P,) whether a cut box, of a colony larger than the overlap, is a piece of a larger one in another tile."""
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    others = np.concatenate([whole, pieces])
    shared = _intersections(boxes_xyxy[pieces], boxes_xyxy[others])
    covered = shared >= COVERED_SHARE * areas[pieces][:, None]
    larger = areas[others][None] > areas[pieces][:, None]
    elsewhere = tile_index[others][None] != tile_index[pieces][:, None]
    return (covered & larger & elsewhere).any(axis=1)
