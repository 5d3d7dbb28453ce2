"""The threshold is the middle of the longest run of best ones, by the least count error or by F1, and per class."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting import threshold as module
from agar_pipeline.counting.threshold import (
    CANDIDATES,
    Criterion,
    Thresholds,
    choose_threshold,
    counts_at_candidates,
    search_thresholds,
)
from agar_pipeline.scoring.count_rule import DEFAULT_THRESHOLD
from agar_pipeline.scoring.counting import count_annotations
from agar_pipeline.scoring.matching import match_detections
from tests.scoring.test_average_precision import make_columns, noisy


def scored_at(columns: CocoColumns, scores: list[list[float]]) -> Detections:
    """Boxes in no colony's place; for each image its scores."""
    ids = np.repeat(columns.image_ids, [len(of_image) for of_image in scores])
    boxes = np.tile([[900.0, 900, 5, 5]], (len(ids), 1))
    return Detections(ids, np.full(len(ids), columns.category_ids[0]), boxes, np.concatenate(scores))


def count(columns: CocoColumns, detections: Detections) -> np.ndarray:
    return np.array([np.count_nonzero(detections.image_ids == image_id) for image_id in columns.image_ids])


def brute_force(columns: CocoColumns, detections: Detections, criterion: str) -> list[float]:
    """Mean error or F1 at each candidate, each counted and matched anew."""
    values = []
    for least in CANDIDATES:
        kept = detections.take(np.flatnonzero(detections.scores >= least))
        predicted, true = count(columns, kept), count_annotations(columns)
        if criterion == "count_error":
            values.append(float(np.abs(predicted - true).mean()))
            continue
        kinds = match_detections(columns, kept).detection_kinds
        right, not_ignored = int((kinds == "true_positive").sum()), int((kinds != "ignored").sum())
        values.append(2 * right / max(not_ignored + int(true.sum()), 1))
    return values


@pytest.mark.parametrize("criterion", ["count_error", "f1"])
def test_curves_equal_matching_anew_at_every_threshold(criterion: Criterion) -> None:
    columns = make_columns([0, 12, 30, 7], crowd=0.1)
    detections = noisy(columns)
    chosen = search_thresholds(columns, detections, criterion).thresholds()
    assert chosen.mae == pytest.approx(brute_force(columns, detections, "count_error"))
    assert chosen.f1 == pytest.approx(brute_force(columns, detections, "f1"))
    of = dict(zip(CANDIDATES.tolist(), brute_force(columns, detections, criterion), strict=True))
    assert of[chosen.common] == (max if criterion == "f1" else min)(of.values())


def test_a_threshold_between_two_plateaus_is_never_chosen() -> None:
    columns = make_columns([1, 1])  # one colony each; scores are such that both ends count as well, the middle worse
    detections = scored_at(columns, [[0.3], [0.6, 0.45]])
    errors = dict(zip(CANDIDATES.tolist(), brute_force(columns, detections, "count_error"), strict=True))
    best = [value for value, error in errors.items() if error == min(errors.values())]
    assert (errors[0.3], errors[0.4], errors[0.5]) == (0.5, 1.0, 0.5), "two runs with a worse one between"
    assert errors[best[len(best) // 2]] == 0.5
    assert choose_threshold(columns, detections) in best
    longest = [value for value in best if value <= 0.3]
    assert choose_threshold(columns, detections) == longest[len(longest) // 2] == 0.18
    assert search_thresholds(columns, detections, "count_error").thresholds().common == 0.18


@pytest.mark.parametrize("criterion", ["count_error", "f1"])
@pytest.mark.parametrize("per_class", [False, True])
def test_each_plate_is_counted_by_what_the_others_choose(
    criterion: Criterion, per_class: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENOUGH_ANNOTATIONS", 1)  # on each of the other plates together, too
    columns = make_columns([25, 3, 14, 0, 9])
    detections = noisy(columns)
    search = search_thresholds(columns, detections, criterion, per_class=per_class)
    counts = search.counts_without_own()
    for row in range(len(columns.image_ids)):
        others, only = (np.delete(np.arange(5), row), np.array([row]))
        theirs = detections.take(np.isin(detections.image_ids, columns.image_ids[others]))
        chosen = search_thresholds(columns.take_images(others), theirs, criterion, per_class=per_class).thresholds()
        expected = 0
        for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True):
            least = chosen.of(name) if name in search.own else chosen.common
            mine = detections.take((detections.category_ids == category_id) & (detections.scores >= least))
            expected += int(count(columns.take_images(only), mine)[0])
        assert counts[row] == expected
    assert len(search.own) == (3 if per_class else 0)


def test_a_class_with_few_annotations_keeps_the_common_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENOUGH_ANNOTATIONS", 20)
    columns = make_columns([30, 30], num_classes=2)
    is_rare = np.arange(60) < 6
    columns = dataclasses.replace(columns, annotation_category_ids=np.where(is_rare, 2, 4))
    scores = np.where(is_rare, 0.9, 0.3)
    found = Detections(columns.annotation_image_ids, columns.annotation_category_ids, columns.boxes_xywh, scores)
    false = make_columns([400, 400], seed=4)
    noise = Detections(false.annotation_image_ids, np.full(800, 2), false.boxes_xywh, np.full(800, 0.6))
    chosen = search_thresholds(columns, Detections.concatenate([found, noise]), "f1", per_class=True).thresholds()
    assert list(chosen.own) == ["class 4"]
    assert 0.05 <= chosen.of("class 4") <= 0.3, "its own: nothing else has its class"
    assert chosen.of("class 2") == chosen.common != chosen.of("class 4")


def test_no_plates_and_no_detections_have_a_threshold() -> None:
    nothing, columns = Detections.concatenate([]), make_columns([3, 4])
    empty = search_thresholds(columns.take_images(np.zeros(0, np.int64)), nothing, "f1", per_class=True)
    assert (empty.thresholds().common, empty.counts_without_own().tolist()) == (DEFAULT_THRESHOLD, [])
    assert choose_threshold(columns, nothing) == search_thresholds(columns, nothing, "f1").thresholds().common == 0.5


def test_thresholds_survive_json() -> None:
    columns = make_columns([30, 80])
    chosen = search_thresholds(columns, noisy(columns), "f1", per_class=True).thresholds()
    assert Thresholds.from_plain(json.loads(json.dumps(chosen.to_plain()))) == chosen


def test_scores_at_a_candidate_count_and_images_may_come_in_any_order() -> None:
    columns = make_columns([1, 1, 1])
    backwards = dataclasses.replace(columns, image_ids=columns.image_ids[::-1])
    counts = counts_at_candidates(backwards.image_ids, scored_at(columns, [[0.05], [], [0.5, 0.499]]))
    at = {value: counts[:, place].tolist() for place, value in enumerate(CANDIDATES.tolist())}
    assert (at[0.05], at[0.06], at[0.5], at[0.51]) == ([2, 0, 1], [2, 0, 0], [1, 0, 0], [0, 0, 0])
