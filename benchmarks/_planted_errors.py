"""Plants errors into the labels of a COCO file, and says which suspects point at one.

Here: six kinds of damage, each to the same share of the labels, and the truth about them. Not here: training and
comparing (`label_review`), other tools (`_label_tools`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.scoring.matching import overlaps_xywh

KINDS = ("missed_colony", "box_too_many", "wrong_class", "poor_box", "double_box", "merged_box")
POINTED_IOU = 0.5


@dataclass(frozen=True)
class Planted:
    """Damaged labels, and E errors in them."""

    columns: CocoColumns
    kinds: np.ndarray
    """(E,) str of `KINDS`."""
    image_ids: np.ndarray
    """(E,)."""
    annotation_ids: list[tuple[int, ...]]
    """Of each error: the annotations that a person would have to change or remove; any one of them is right."""
    lost_xywh: list[np.ndarray]
    """Of each error: (B, 4) boxes that belong to the truth and are in the labels no more."""

    def found(self, image_ids: np.ndarray, annotation_ids: np.ndarray, boxes_xywh: np.ndarray) -> np.ndarray:
        """The error that each of S suspects points at, (S,), or −1.

        A suspect points at an error if it names one of its annotations (`annotation_ids`, −1 for none), or if its box
        has an IoU of 0.5 with a box that was lost.
        """
        by_annotation = {(i, a): e for e, i in enumerate(self.image_ids.tolist()) for a in self.annotation_ids[e]}
        lost: dict[int, list[tuple[int, np.ndarray]]] = {}
        for error, (image, boxes) in enumerate(zip(self.image_ids.tolist(), self.lost_xywh, strict=True)):
            lost.setdefault(image, []).extend((error, box) for box in boxes)
        pointed = np.full(len(image_ids), -1)
        for at, (image, annotation, box) in enumerate(
            zip(image_ids.tolist(), annotation_ids.tolist(), boxes_xywh, strict=True)
        ):
            if annotation >= 0:
                pointed[at] = by_annotation.get((image, annotation), -1)
            if pointed[at] < 0 and lost.get(image):
                iou, _ = overlaps_xywh(box[None], np.stack([one for _, one in lost[image]]))
                if iou.max() >= POINTED_IOU:
                    pointed[at] = lost[image][int(iou.argmax())][0]
        return pointed

    def corrected(self, clean: CocoColumns, errors: Iterable[int]) -> CocoColumns:
        """The damaged labels, with these errors as they were in the clean ones."""
        chosen = list(errors)
        wrong = {(int(self.image_ids[e]), a) for e in chosen for a in self.annotation_ids[e]}
        lost = {(int(self.image_ids[e]), *box) for e in chosen for box in self.lost_xywh[e].tolist()}
        kept = self.columns.take_annotations(~np.array([key in wrong for key in _keys(self.columns)], bool))
        places = zip(clean.annotation_image_ids.tolist(), clean.boxes_xywh.tolist(), strict=True)
        is_lost = np.array([(image, *box) in lost for image, box in places], bool)
        back = clean.take_annotations(is_lost | np.array([key in wrong for key in _keys(clean)], bool))
        return dataclasses.replace(
            kept,
            annotation_ids=np.concatenate([kept.annotation_ids, back.annotation_ids]),
            annotation_image_ids=np.concatenate([kept.annotation_image_ids, back.annotation_image_ids]),
            annotation_category_ids=np.concatenate([kept.annotation_category_ids, back.annotation_category_ids]),
            boxes_xywh=np.concatenate([kept.boxes_xywh, back.boxes_xywh]),
            iscrowd=np.concatenate([kept.iscrowd, back.iscrowd]),
        )


def _keys(columns: CocoColumns) -> list[tuple[int, int]]:
    return list(zip(columns.annotation_image_ids.tolist(), columns.annotation_ids.tolist(), strict=True))


def plant(columns: CocoColumns, seed: int, share: float = 0.05) -> Planted:
    """Damage `share` of the labels in each of the six ways; with one class, in five. No label is damaged twice."""
    rng = np.random.default_rng(seed)
    many, of_class = len(columns.annotation_ids), len(columns.category_ids) > 1
    count = max(1, round(share * many))
    image_rows, _ = columns.image_rows()
    pairs = _neighbours(columns, rng)[:count]
    free = np.setdiff1d(rng.permutation(many), pairs)
    rng.shuffle(free)
    chosen = dict(
        zip(
            ("missed_colony", "wrong_class", "poor_box", "double_box"),
            np.array_split(free[: 4 * count], 4),
            strict=True,
        )
    )
    boxes, categories = np.array(columns.boxes_xywh), np.array(columns.annotation_category_ids)
    ids, owners = columns.annotation_ids, columns.annotation_image_ids
    before, fresh = columns.boxes_xywh, int(ids.max()) + 1
    errors: list[tuple[str, int, tuple[int, ...], np.ndarray]] = []

    def note(kind: str, row: int, annotations: tuple[int, ...], lost: np.ndarray) -> None:
        errors.append((kind, int(owners[row]), annotations, lost.reshape(-1, 4)))

    for row in chosen["missed_colony"].tolist():
        note("missed_colony", row, (), before[row])
    for row in chosen["wrong_class"].tolist() if of_class else ():
        categories[row] = rng.choice(np.setdiff1d(columns.category_ids, categories[row]))
        note("wrong_class", row, (int(ids[row]),), before[:0])
    for row in chosen["poor_box"].tolist():
        boxes[row] = _shifted(before[row], columns.sizes_wh[image_rows[row]], rng)
        note("poor_box", row, (int(ids[row]),), before[row])
    added: list[tuple[int, int, np.ndarray]] = []
    for row in chosen["double_box"].tolist():
        copy = before[row] + rng.normal(0, 0.06, 4) * np.tile(before[row, 2:], 2)
        note("double_box", row, (int(ids[row]), fresh + len(added)), before[:0])
        added.append((int(owners[row]), int(categories[row]), copy))
    for one, other in pairs.tolist():
        low = np.minimum(before[one, :2], before[other, :2])
        high = np.maximum(before[one, :2] + before[one, 2:], before[other, :2] + before[other, 2:])
        boxes[one] = np.concatenate([low, high - low])
        note("merged_box", one, (int(ids[one]),), before[[one, other]])
    for _ in range(count):
        placed = _empty_place(columns, rng)
        if placed is not None:
            image, box = placed
            category = int(rng.choice(columns.annotation_category_ids))
            errors.append(("box_too_many", image, (fresh + len(added),), before[:0]))
            added.append((image, category, box))
    kept = np.ones(many, bool)
    kept[chosen["missed_colony"]] = False
    kept[pairs[:, 1]] = False
    damaged = dataclasses.replace(
        columns,
        annotation_ids=np.concatenate([ids[kept], np.arange(fresh, fresh + len(added))]),
        annotation_image_ids=np.concatenate([owners[kept], [image for image, _, _ in added]]).astype(np.int64),
        annotation_category_ids=np.concatenate([categories[kept], [c for _, c, _ in added]]).astype(np.int64),
        boxes_xywh=np.concatenate([boxes[kept], np.stack([box for _, _, box in added])]),
        iscrowd=np.concatenate([columns.iscrowd[kept], np.zeros(len(added), bool)]),
    )
    kinds, images, annotations, lost = zip(*errors, strict=True)
    return Planted(damaged, np.array(kinds), np.array(images), list(annotations), list(lost))


def _neighbours(columns: CocoColumns, rng: np.random.Generator) -> np.ndarray:
    """(P, 2) rows of annotations of one class that lie close together, no row twice; the closer half, shuffled."""
    order, starts = columns.rows_of_images()
    found: list[tuple[float, int, int]] = []
    for first, last in pairwise(starts):
        rows = order[first:last]
        boxes = columns.boxes_xywh[rows]
        if len(rows) < 2:
            continue
        centres, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].mean(axis=1)
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=2) / (sides[:, None] + sides[None]) * 2
        apart[columns.annotation_category_ids[rows][:, None] != columns.annotation_category_ids[rows][None]] = np.inf
        np.fill_diagonal(apart, np.inf)
        near = apart.argmin(axis=1)
        found += [(apart[i, j], int(rows[i]), int(rows[j])) for i, j in enumerate(near) if apart[i, j] < 2]
    found.sort()
    used: set[int] = set()
    pairs = []
    for _, one, other in found:
        if not {one, other} & used:
            used |= {one, other}
            pairs.append((one, other))
    chosen = np.array(pairs, dtype=np.int64).reshape(-1, 2)[: max(1, len(pairs) * 2 // 3)]
    rng.shuffle(chosen)
    return chosen


def _shifted(box_xywh: np.ndarray, size_wh: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The box moved and scaled until its IoU is between 0.3 and 0.6."""
    moved = box_xywh
    for _ in range(200):
        scale = np.exp(rng.normal(0, 0.35, 2))
        centre = box_xywh[:2] + box_xywh[2:] / 2 + rng.normal(0, 0.25, 2) * box_xywh[2:]
        wh = box_xywh[2:] * scale
        low, high = np.maximum(centre - wh / 2, 0), np.minimum(centre + wh / 2, size_wh)
        moved = np.concatenate([low, np.maximum(high - low, 1)])
        iou, _ = overlaps_xywh(box_xywh[None], moved[None])
        if 0.3 <= iou[0, 0] <= 0.6:
            break
    return moved


def _empty_place(columns: CocoColumns, rng: np.random.Generator) -> tuple[int, np.ndarray] | None:
    """An image, and a box of the size of some label at a place where no label is."""
    for _ in range(200):
        row, image = int(rng.integers(len(columns.annotation_ids))), int(rng.integers(len(columns.image_ids)))
        wh = columns.boxes_xywh[row, 2:]
        room = columns.sizes_wh[image] - wh
        if (room <= 0).any() or (wh <= 0).any():
            continue
        box = np.concatenate([rng.uniform(0, room), wh])
        here = columns.boxes_xywh[columns.annotation_image_ids == columns.image_ids[image]]
        if not len(here) or overlaps_xywh(box[None], here)[0].max() < 0.05:
            return int(columns.image_ids[image]), box
    return None
