"""Matches each detection and each annotation once, and assigns the kind of success or error.

The kinds follow TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020), with
its two IoU thresholds, and one more kind for crowded plates: a box around several colonies. Here: matching. Not here:
the cost of an error (`error_costs`), drawing (`reports`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections

if TYPE_CHECKING:
    import pandas as pd

FOUND_IOU = 0.5
"""A detection with at least this IoU has found the colony; TIDE's foreground threshold."""
NEAR_IOU = 0.1
"""A detection with at least this IoU belongs to the colony, but its box is poor; TIDE's background threshold."""
COVERED_SHARE = 0.5
"""A box contains a colony if it covers at least this share of the colony's area."""

DETECTION_KINDS = ("true_positive", "wrong_class", "poor_box", "merged", "duplicate", "background")
"""A further kind, `ignored`, is a detection in a crowd region: neither correct nor wrong, as in COCO."""
ANNOTATION_KINDS = ("true_positive", "wrong_class", "poor_box", "merged", "missed")


@dataclass(frozen=True)
class Matches:
    """D detections and M annotations of a COCO file, each with its kind."""

    detection_kinds: np.ndarray
    """(D,) str of `DETECTION_KINDS` or `ignored`."""
    detection_partners: np.ndarray
    """(D,) row of the annotation that a detection is matched to, −1 if there is none; for merged ones the first."""
    annotation_kinds: np.ndarray
    """(M,) str of `ANNOTATION_KINDS` or `ignored`: crowd regions, and annotations of images that are not listed."""
    annotation_partners: np.ndarray
    """(M,) row of the detection, −1 if there is none. Merged annotations share one detection."""


class ImageRows(NamedTuple):
    """Rows of the annotations and detections of one image."""

    annotations: np.ndarray
    """Rows in file order."""
    detections: np.ndarray
    """Rows, highest score first."""


def rows_by_image(columns: CocoColumns, detections: Detections) -> Iterator[ImageRows]:
    """Rows of annotations and detections, image by image, in the order of the COCO file."""
    order, starts = columns.rows_of_images()
    by_score = np.lexsort((-detections.scores, detections.image_ids))
    sorted_ids = detections.image_ids[by_score]
    firsts = np.searchsorted(sorted_ids, columns.image_ids, side="left")
    lasts = np.searchsorted(sorted_ids, columns.image_ids, side="right")
    for index in range(len(columns.image_ids)):
        yield ImageRows(order[starts[index] : starts[index + 1]], by_score[firsts[index] : lasts[index]])


def match_detections(columns: CocoColumns, detections: Detections) -> Matches:
    """Match all annotations and detections, image by image.

    In each image, detections are processed from the highest score to the lowest. A detection is matched to the free
    annotation of its class with the highest IoU (`true_positive`, IoU of at least `FOUND_IOU`). The remaining
    detections are processed in the same order. Each gets the first kind that applies:

    - `ignored`: it is in a crowd region;
    - `wrong_class`: it is on a free annotation of another class;
    - `merged`: it contains two or more free annotations;
    - `duplicate`: it is on a colony that is already matched;
    - `poor_box`: it is near a free annotation of its class (IoU of at least `NEAR_IOU`);
    - `background`: none of these.

    Annotations that are not matched are `missed`.
    """
    matches = Matches(
        np.full(len(detections), "background", dtype=object),
        np.full(len(detections), -1, dtype=np.int64),
        np.full(len(columns.annotation_ids), "ignored", dtype=object),
        np.full(len(columns.annotation_ids), -1, dtype=np.int64),
    )
    for rows in rows_by_image(columns, detections):
        _match_image(columns, detections, rows, matches)
    return matches


def _match_image(columns: CocoColumns, detections: Detections, rows: ImageRows, matches: Matches) -> None:
    crowd = columns.iscrowd[rows.annotations]
    annotations, regions = rows.annotations[~crowd], rows.annotations[crowd]
    matches.annotation_kinds[annotations] = "missed"
    if not len(rows.detections):
        return
    predicted_xywh = detections.boxes_xywh[rows.detections]
    iou, covered = overlaps_xywh(columns.boxes_xywh[annotations], predicted_xywh)
    truth_ids, predicted_ids = columns.annotation_category_ids[annotations], detections.category_ids[rows.detections]
    same_class: np.ndarray = truth_ids[:, None] == predicted_ids[None]
    free = np.ones(len(annotations), dtype=bool)

    def take(place: int, mine: np.ndarray, kind: str) -> None:
        matches.detection_kinds[rows.detections[place]] = kind
        matches.detection_partners[rows.detections[place]] = annotations[mine[0]]
        matches.annotation_kinds[annotations[mine]] = kind
        matches.annotation_partners[annotations[mine]] = rows.detections[place]
        free[mine] = False

    in_place: np.ndarray = iou >= FOUND_IOU
    left_over = []
    for place in range(len(rows.detections)):
        best = _best(iou[:, place], in_place[:, place] & same_class[:, place] & free)
        if len(best):
            take(place, best, "true_positive")
        else:
            left_over.append(place)
    found = ~free
    _, in_region = overlaps_xywh(predicted_xywh, columns.boxes_xywh[regions])  # (D, R): share of the detection
    ignored: np.ndarray = np.any(in_region >= FOUND_IOU, axis=1)
    for place in left_over:
        if ignored[place]:
            matches.detection_kinds[rows.detections[place]] = "ignored"
        elif len(best := _best(iou[:, place], in_place[:, place] & free)):
            take(place, best, "wrong_class")
        elif len(held := np.flatnonzero((covered[:, place] >= COVERED_SHARE) & free)) > 1:
            take(place, held, "merged")
        elif (in_place[:, place] & found).any():
            matches.detection_kinds[rows.detections[place]] = "duplicate"
        elif len(best := _best(iou[:, place], (iou[:, place] >= NEAR_IOU) & same_class[:, place] & free)):
            take(place, best, "poor_box")


def _best(iou: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Index of the candidate with the highest IoU, as an array with one element, or with none."""
    among = np.flatnonzero(candidates)
    return among[[iou[among].argmax()]] if len(among) else among


def overlaps_xywh(boxes_a_xywh: np.ndarray, boxes_b_xywh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overlap of each of N boxes with each of M boxes.

    >>> iou, covered = overlaps_xywh(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 4, 2]]))
    >>> iou.tolist(), covered.tolist()
    ([[0.5]], [[1.0]])

    Returns:
        (N, M) intersection over union, and (N, M) share of the first box's area that is inside the second; both in [0,
        1], 0 if a box has no area.
    """
    a, b = boxes_a_xywh[:, None], boxes_b_xywh[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas_a = a[..., 2:].prod(axis=-1)
    union = areas_a + b[..., 2:].prod(axis=-1) - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    covered = np.divide(shared, areas_a, out=np.zeros_like(shared), where=areas_a > 0)
    return iou, covered


def matches_table(columns: CocoColumns, detections: Detections, matches: Matches) -> pd.DataFrame:
    """One row per detection, and one row per annotation without a detection.

    Returns:
        image_id, category_id (of the detection, or of the missed annotation), kind, score, annotation_id, x, y, width,
        height (pixels; of the detection, or of the missed annotation). Ordered by image, then by score, highest first.
    """
    import pandas as pd

    has_partner = matches.detection_partners >= 0
    annotation_ids = (
        pd.array(columns.annotation_ids[matches.detection_partners], dtype="Int64")
        if len(columns.annotation_ids)
        else pd.array([None] * len(detections), dtype="Int64")
    )
    annotation_ids[~has_partner] = pd.NA
    left = np.flatnonzero(matches.annotation_kinds == "missed")
    predicted = pd.DataFrame(
        {
            "image_id": detections.image_ids,
            "category_id": detections.category_ids,
            "kind": matches.detection_kinds.astype(str),
            "score": detections.scores,
            "annotation_id": annotation_ids,
        }
    )
    missed = pd.DataFrame(
        {
            "image_id": columns.annotation_image_ids[left],
            "category_id": columns.annotation_category_ids[left],
            "kind": "missed",
            "score": np.full(len(left), np.nan),
            "annotation_id": pd.array(columns.annotation_ids[left], dtype="Int64"),
        }
    )
    predicted[XYWH_COLUMNS], missed[XYWH_COLUMNS] = detections.boxes_xywh, columns.boxes_xywh[left]
    table = pd.concat([predicted, missed], ignore_index=True).astype({"kind": "string"})
    return table.sort_values(["image_id", "score"], ascending=[True, False], kind="stable", ignore_index=True)
