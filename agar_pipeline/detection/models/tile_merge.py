"""Merges the detections of overlapping tiles into the detections of one plate.

The middle lines of the overlaps divide the plate into cores, one per tile. A tile owns the detections whose centre is
in its core. A colony that is no larger than the overlap and has its centre in a core is whole in that core's tile. If
another tile shows the colony cut, the centre of the cut box is outside that other tile's core. A perfect detector's
boxes are therefore kept exactly once, however crowded the plate is, and no threshold on their overlap is needed.

Real boxes vary by some pixels, so that near a middle line two tiles may both own a colony, or neither may. Within
`PAIR_SHARE` of the overlap around a middle line, all detections that both tiles made are therefore paired one to one,
best overlap first. One detection of each pair is kept. A detection that only one tile made, and that this tile does not
own, is kept if it is within `KEEP_SHARE` of its core. Different colonies are never paired, because both tiles detected
both of them, and a box overlaps most with the other box of the same colony. Detections away from the seams are not
changed.
"""

from __future__ import annotations

import numpy as np

from agar_pipeline.detection.models.tiles import TileGrid

KEEP_SHARE = 0.0625
"""How far outside its core a tile may keep detections that the owner missed, as a share of the overlap."""
PAIR_SHARE = 2 * KEEP_SHARE
"""Half-width of the zone in which neighbouring tiles are compared, as a share of the overlap.

It is twice `KEEP_SHARE`, so that a detection that is kept just inside finds its partner in the other tile.
"""
PAIR_IOU = 0.5
"""Boxes of neighbouring tiles with a smaller IoU are different colonies."""
COVERED_SHARE = 0.7
"""If a larger box of another tile covers more than this share of a cut box, the cut box is a piece of that colony."""
TOUCH_PX = 1.0
"""A box is taken for cut if it ends within this many pixels of an inner border of its tile."""


def largest_exact_side(overlap: int) -> float:
    """Side of the largest colony, pixels, for which the merge is proven to be exact.

    The colony and the zones on both sides of the middle line must fit into the overlap.

    >>> largest_exact_side(64)
    46.0
    """
    return overlap * (1 - 2 * PAIR_SHARE) - 2 * TOUCH_PX


def least_overlap(side: float) -> int:
    """Smallest overlap for colonies of this side; the inverse of `largest_exact_side`.

    >>> least_overlap(46.0)
    64
    """
    return int(np.ceil((side + 2 * TOUCH_PX) / (1 - 2 * PAIR_SHARE)))


def merge_tiles(
    grid: TileGrid, tile_index: np.ndarray, boxes_xyxy: np.ndarray, labels: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Select the detections of the plate from the detections of all tiles.

    Args:
        tile_index: (D,) the tile in which a detection was made.
        boxes_xyxy: (D, 4) pixels of the plate.
        labels: (D,); boxes with different labels are never paired, as NMS within a tile does not remove them either.
        scores: (D,).

    Returns:
        Row numbers of the detections that are kept, ascending.
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
    """(D,) whether a detection's centre is in the core of its own tile, or at most `margin` pixels outside it."""
    near = np.zeros(len(centres), bool)
    for tile in np.unique(tile_index):
        rows = np.flatnonzero(tile_index == tile)
        near[rows] = grid.near_core(centres[rows], int(tile), margin)
    return near


def _find_cut(grid: TileGrid, tile_index: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(D,) whether a box ends at a border of its tile that is not a border of the plate."""
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
    """Pairs of detections of two tiles that may be the same colony, best overlap first; both are near both cores."""
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
    order = np.argsort(-np.concatenate(overlaps).round(6), kind="stable")  # ties stay in tile order
    return list(zip(np.concatenate(firsts)[order].tolist(), np.concatenate(seconds)[order].tolist(), strict=True))


def box_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """(A, 4), (B, 4) → (A, B) intersection over union.

    >>> box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5.0, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
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
    """One row of each group: a detection in its own core is preferred, then the highest score, then the lowest row."""
    leaders = np.array([leader[int(row)] for row in candidates], dtype=np.int64)
    order = np.lexsort((candidates, -scores[candidates], ~owned[candidates], leaders))
    first = np.ones(len(order), bool)
    first[1:] = leaders[order][1:] != leaders[order][:-1]
    return candidates[order[first]]


def _is_covered(pieces: np.ndarray, whole: np.ndarray, tile_index: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(P,) whether a cut box, of a colony larger than the overlap, is a piece of a larger box in another tile."""
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    others = np.concatenate([whole, pieces])
    shared = _intersections(boxes_xyxy[pieces], boxes_xyxy[others])
    covered = shared >= COVERED_SHARE * areas[pieces][:, None]
    larger = areas[others][None] > areas[pieces][:, None]
    elsewhere = tile_index[others][None] != tile_index[pieces][:, None]
    return (covered & larger & elsewhere).any(axis=1)
