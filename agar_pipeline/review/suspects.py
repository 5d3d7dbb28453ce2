"""The ranked table of suspects: which labels are probably wrong, how, and what would be right.

Here: one suspect per annotation and per missing annotation, with its suggestion. Not here: the evidence (`evidence`),
its probability (`probability`), a page of them (`reports`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.review.evidence import KINDS, MISSED, OF_ANNOTATIONS, Evidence, weigh
from agar_pipeline.review.overlaps import find_overlaps
from agar_pipeline.review.probability import Mixture, count_bins, interpolated
from agar_pipeline.review.trial_errors import SHARE, make_trial
from agar_pipeline.scoring.matching import FOUND_IOU

if TYPE_CHECKING:
    import pandas as pd

ERRORS_WANTED = 400
"""Trial errors of each kind that are enough to learn from."""
MOST_TRIALS = 40
REPLICATES = 200
LEAST_DETECTION_SCORE = 0.1
"""Detections of a lower score are no evidence. Most detections are below it, so that it also saves time."""
LEAST_SCORE = 0.02
"""Suspects that are less probable than this are left out."""


@dataclass(frozen=True)
class RankedSuspects:
    """What the review of some images found."""

    suspects: pd.DataFrame
    """One row per suspect, the most probable first: image_id, annotation_id (null for a missed colony), kind, score
    (the probability of an error), category_id and x, y, width, height of the annotation (null for a missed colony),
    detection_score (of the detection that speaks against it, null without), suggested_category_id (null: remove the
    annotation), suggested_boxes_xywh (list of boxes: none, one, or those of two colonies), other_annotation_id (the
    annotation that a double box repeats)."""
    wrong: dict[str, np.ndarray]
    """Kind → (1 + R,) number of labels that are wrong in this way: the estimate, then R resamples of the images."""


def review_labels(columns: CocoColumns, detections: Detections, seed: int = 0) -> RankedSuspects:
    """Find labels that are probably wrong.

    Args:
        columns: N images and their annotations; crowds are left out.
        detections: Detections of models that were not trained on these images, with scores down to 0.1.
        seed: Seed of the trial errors and of the resamples; the result depends on nothing else that is drawn.
    """
    rng = np.random.default_rng(seed)
    columns = columns.without_crowds()
    _, known = columns.image_rows()
    columns = columns.take_annotations(known & (columns.boxes_xywh[:, 2:] > 0).all(axis=1))
    used = np.isin(detections.image_ids, columns.image_ids) & (detections.scores >= LEAST_DETECTION_SCORE)
    detections = detections.take(np.flatnonzero(used))
    evidence = weigh(columns, detections)
    mixtures = _fit(columns, detections, evidence, rng)
    odds = np.stack([interpolated(mixtures[kind].odds(), evidence.annotations[kind]) for kind in OF_ANNOTATIONS])
    chosen = odds.argmax(axis=0) if odds.size else np.zeros(0, np.int64)
    missed = np.flatnonzero(evidence.missed > 0)
    tables = [
        _table(columns, detections, evidence, chosen, odds.max(axis=0, initial=0)),
        _missed_table(detections, missed, interpolated(mixtures[MISSED].odds(), evidence.missed[missed])),
    ]
    return RankedSuspects(_ranked(tables), _count_wrong(columns, detections, evidence, mixtures, chosen, rng))


def _fit(
    columns: CocoColumns, detections: Detections, evidence: Evidence, rng: np.random.Generator
) -> dict[str, Mixture]:
    """Kind → mixture of the evidence that is seen and of that of trial errors."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {kind: [] for kind in KINDS}
    trials = int(np.clip(np.ceil(ERRORS_WANTED / max(1, SHARE * len(columns.annotation_ids))), 1, MOST_TRIALS))
    for _ in range(trials if len(columns.annotation_ids) else 0):
        trial = make_trial(columns, rng)
        left = weigh(trial.columns, detections)
        one, other = trial.rows["double_box"].reshape(2, -1)
        doubled = left.annotations["double_box"]
        rows_of = trial.rows | {"double_box": np.where(doubled[one] > doubled[other], one, other)}
        for kind, rows in rows_of.items():
            found[kind].append((left.annotations[kind][rows], trial.columns.annotation_image_ids[rows]))
        pairs = find_overlaps(trial.lost_xywh, trial.lost_image_ids, detections.boxes_xywh, detections.image_ids)
        pairs = pairs.where(pairs.iou >= FOUND_IOU)
        of_lost = np.zeros(len(trial.lost_xywh))
        np.maximum.at(of_lost, pairs.first, left.missed[pairs.second])
        found[MISSED].append((of_lost, trial.lost_image_ids))
    return {kind: _mixture(columns, detections, evidence, kind, found[kind]) for kind in KINDS}


def _mixture(
    columns: CocoColumns,
    detections: Detections,
    evidence: Evidence,
    kind: str,
    found: list[tuple[np.ndarray, np.ndarray]],
) -> Mixture:
    seen, images = evidence.annotations.get(kind), columns.annotation_image_ids
    if seen is None:
        candidates = evidence.missed > 0
        seen, images = evidence.missed[candidates], detections.image_ids[candidates]
    of_errors = np.concatenate([np.zeros(0), *(of for of, _ in found)])
    images_of_errors = np.concatenate([np.zeros(0, np.int64), *(of for _, of in found)])
    rows, rows_of_errors = (_rows(columns, ids) for ids in (images, images_of_errors))
    return Mixture.of(seen, rows, of_errors, rows_of_errors, len(columns.image_ids))


def _rows(columns: CocoColumns, image_ids: np.ndarray) -> np.ndarray:
    order = np.argsort(columns.image_ids, kind="stable")
    return order[np.searchsorted(columns.image_ids, image_ids, sorter=order)] if len(image_ids) else image_ids


def _table(
    columns: CocoColumns, detections: Detections, evidence: Evidence, chosen: np.ndarray, scores: np.ndarray
) -> pd.DataFrame:
    import pandas as pd

    many = len(chosen)
    kinds = np.array(OF_ANNOTATIONS, dtype=object)[chosen]
    partners = np.full(many, -1)
    for kind in OF_ANNOTATIONS:
        partners = np.where(kinds == kind, evidence.partners[kind], partners)
    twins = kinds == "double_box"
    by_detection = (partners >= 0) & ~twins
    own = columns.boxes_xywh
    table = pd.DataFrame(
        {
            "image_id": columns.annotation_image_ids,
            "annotation_id": pd.array(columns.annotation_ids, dtype="Int64"),
            "kind": kinds,
            "score": scores,
            "category_id": pd.array(columns.annotation_category_ids, dtype="Int64"),
            **{side: own[:, at] for at, side in enumerate(XYWH_COLUMNS)},
            "detection_score": _where(by_detection, detections.scores, partners, np.nan),
            "suggested_category_id": _nullable(by_detection, _suggested(columns, detections, kinds, partners)),
            "other_annotation_id": _nullable(twins, _where(twins, columns.annotation_ids, partners, 0)),
        }
    )
    boxes: list[list[list[float]]] = [[] for _ in range(many)]
    for row in np.flatnonzero(by_detection & (scores >= LEAST_SCORE)).tolist():
        if kinds[row] == "merged_box":
            parts = [evidence.first_part[row], partners[row]]
            boxes[row] = detections.boxes_xywh[parts].round(2).tolist()
        else:
            box = own[row] if kinds[row] == "wrong_class" else detections.boxes_xywh[partners[row]]
            boxes[row] = [box.round(2).tolist()]
    return table.assign(suggested_boxes_xywh=pd.Series(boxes, dtype=object))


def _suggested(columns: CocoColumns, detections: Detections, kinds: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(M,) category: of a wrong class that of the detection, else its own."""
    swapped = kinds == "wrong_class"
    return np.where(swapped, _where(swapped, detections.category_ids, partners, 0), columns.annotation_category_ids)


def _where(known: np.ndarray, values: np.ndarray, rows: np.ndarray, otherwise: float) -> np.ndarray:
    """The values of the rows where they are known; `rows` may be out of range elsewhere."""
    if not known.any():
        return np.full(len(rows), otherwise)
    return np.where(known, values[np.where(known, rows, 0)], otherwise)


def _nullable(known: np.ndarray, values: np.ndarray) -> pd.Series[int]:
    import pandas as pd

    return pd.Series(np.where(known, values, 0).astype(np.int64), dtype="Int64").where(known)


def _missed_table(detections: Detections, rows: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    nothing = pd.array([pd.NA] * len(rows), dtype="Int64")
    return pd.DataFrame(
        {
            "image_id": detections.image_ids[rows],
            "annotation_id": nothing,
            "kind": MISSED,
            "score": scores,
            "category_id": nothing,
            **dict.fromkeys(XYWH_COLUMNS, np.nan),
            "detection_score": detections.scores[rows],
            "suggested_category_id": pd.array(detections.category_ids[rows], dtype="Int64"),
            "other_annotation_id": nothing,
            "suggested_boxes_xywh": [[box] for box in detections.boxes_xywh[rows].round(2).tolist()],
        }
    )


def _ranked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The most probable first; `score` is limited to 1 after sorting, because odds above 1 also have an order."""
    import pandas as pd

    table = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    table = table[table["score"] >= LEAST_SCORE].sort_values("score", ascending=False, kind="stable", ignore_index=True)
    return table.assign(score=table["score"].clip(upper=1))


def _count_wrong(
    columns: CocoColumns,
    detections: Detections,
    evidence: Evidence,
    mixtures: dict[str, Mixture],
    chosen: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Kind → sum of the probabilities of its suspects, for the images as they are and for each resample."""
    images = len(columns.image_ids)
    weights = np.ones((1 + REPLICATES, images))
    if images:
        weights[1:] = rng.multinomial(images, np.full(images, 1 / images), size=REPLICATES)
    wrong = {}
    for kind, mixture in mixtures.items():
        if kind == MISSED:
            mine, owners = np.flatnonzero(evidence.missed > 0), detections.image_ids
            of = evidence.missed
        else:
            of, owners = evidence.annotations[kind], columns.annotation_image_ids
            mine = np.flatnonzero((chosen == OF_ANNOTATIONS.index(kind)) & (of > 0))
        counts = count_bins(of[mine], _rows(columns, owners[mine]), images)
        wrong[kind] = np.array([each @ counts @ np.minimum(1, mixture.odds(each)) for each in weights])
    return wrong
