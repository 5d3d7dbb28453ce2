"""Every box gets one kind; what a kind costs is what mending it gains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.average_precision import coco_metrics
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counting import count_per_image
from agar_pipeline.scoring.error_costs import ERROR_KINDS, error_gains
from agar_pipeline.scoring.matching import match_detections, matches_table
from agar_pipeline.scoring.score import score_detections
from agar_pipeline.scoring.suppression import SAME_PLACE_IOU, suppress_across_classes
from agar_pipeline.scoring.uncertainty import compare_models, confidence_intervals
from tests.scoring.test_average_precision import make_columns, noisy, perfect

Found = tuple[list[float], int, float]
"""A box, its class, its score."""
COLONIES: list[list[float]] = [
    [10, 10, 20, 20],
    [30, 10, 20, 20],
    [100, 100, 40, 40],
    [200, 200, 10, 10],
    [300, 300, 50, 50],
]


def one_plate(boxes_xywh: list[list[float]], category_ids: list[int], crowd: list[bool] | None = None) -> CocoColumns:
    count = len(boxes_xywh)
    return CocoColumns(
        image_ids=np.array([7]),
        file_names=np.array(["7.jpg"], dtype=object),
        sizes_wh=np.array([[500, 500]]),
        annotation_ids=np.arange(count) + 11,
        annotation_image_ids=np.full(count, 7),
        annotation_category_ids=np.array(category_ids),
        boxes_xywh=np.array(boxes_xywh, dtype=np.float64),
        iscrowd=np.array(crowd or [False] * count),
        category_ids=np.array([1, 2]),
        class_names=("white", "red"),
    )


def detect(*rows: Found) -> Detections:
    boxes = np.array([box for box, _, _ in rows], dtype=np.float64).reshape(-1, 4)
    categories, scores = np.array([c for _, c, _ in rows]), np.array([score for _, _, score in rows])
    return Detections(np.full(len(rows), 7), categories, boxes, scores)


def test_a_colony_whose_species_is_in_doubt_counts_once_as_the_likelier() -> None:
    columns = one_plate(COLONIES, [1, 1, 1, 1, 1])
    doubled = [(box, category, 0.9 if category == 1 else 0.8) for box in COLONIES for category in (1, 2)]
    half = CountRule(0.5)
    scored = score_detections(columns, detect(*doubled), half)
    assert scored.metrics["counting"]["mae"] == 0
    assert scored.metrics["counting"]["per_class"]["red"]["me"] == 0
    assert scored.metrics["num_predictions"] == 10, "average precision ranks each class by itself"
    assert set(scored.matches.detection_kinds) == {"true_positive"}
    same_class = [(box, 1, score) for box in COLONIES for score in (0.9, 0.8)]
    counting = score_detections(columns, detect(*same_class), half).metrics["counting"]
    assert counting["me"] == 5, "within a class, suppression is the detector's own"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([1, 8, 60]))
def test_suppression_across_classes_is_greedy_by_score(seed: int, count: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.integers(0, spread, (count, 2)), rng.integers(0, 12, (count, 2))], axis=1).astype(float)
    images, classes = rng.integers(1, 3, count), rng.integers(1, 4, count)
    detections = Detections(images, classes, boxes, rng.integers(0, 5, count) / 5)
    kept: list[int] = []
    for row in np.argsort(-detections.scores, kind="stable").tolist():
        others = [k for k in kept if images[k] == images[row] and classes[k] != classes[row]]
        if all(_overlap(boxes[k], boxes[row]) < SAME_PLACE_IOU for k in others):
            kept.append(row)
    left = suppress_across_classes(detections)
    expected = detections.take(np.sort(np.array(kept, dtype=int)))
    for name in ("image_ids", "category_ids", "boxes_xywh", "scores"):
        np.testing.assert_array_equal(getattr(left, name), getattr(expected, name))
    above = detections.take(np.flatnonzero(detections.scores >= 0.4))
    assert len(suppress_across_classes(above)) == (left.scores >= 0.4).sum(), "at any threshold, before or after"


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (a[2:].prod() + b[2:].prod() - common) if common else 0.0


def test_each_kind_of_error_is_told_from_the_others() -> None:
    columns = one_plate(COLONIES, [1, 1, 1, 1, 1])
    detections = detect(
        ([8, 8, 44, 24], 1, 0.9),  # around the two that touch
        ([100, 100, 40, 40], 1, 0.8),
        ([102, 100, 40, 40], 1, 0.7),  # the same colony again
        ([200, 200, 10, 10], 2, 0.6),  # red, where white is
        ([325, 300, 50, 50], 1, 0.5),  # half beside
        ([400, 10, 30, 30], 1, 0.4),  # nothing there
    )
    matches = match_detections(columns, detections)
    kinds = ["merged", "true_positive", "duplicate", "wrong_class", "poor_box", "background"]
    assert matches.detection_kinds.tolist() == kinds
    assert matches.annotation_kinds.tolist() == ["merged", "merged", "true_positive", "wrong_class", "poor_box"]
    assert matches.annotation_partners.tolist() == [0, 0, 1, 3, 4]
    table = matches_table(columns, detections, matches)
    assert table["kind"].tolist() == kinds
    assert table["annotation_id"].fillna(0).tolist() == [11, 13, 0, 14, 15, 0]


def test_the_better_score_takes_the_colony_and_a_crowd_region_is_neither_right_nor_wrong() -> None:
    columns = one_plate([[10, 10, 20, 20], [100, 100, 200, 200]], [1, 1], crowd=[False, True])
    detections = detect(([11, 10, 20, 20], 1, 0.3), ([12, 10, 20, 20], 1, 0.9), ([150, 150, 20, 20], 1, 0.8))
    matches = match_detections(columns, detections)
    assert matches.detection_kinds.tolist() == ["duplicate", "true_positive", "ignored"]
    assert matches.annotation_kinds.tolist() == ["true_positive", "ignored"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 2**16))
def test_every_box_is_matched_at_most_once(boxes_per_image: list[int], seed: int) -> None:
    columns = make_columns(boxes_per_image, seed)
    detections = noisy(columns, seed)
    matches = match_detections(columns, detections)
    single = np.isin(matches.detection_kinds, ("true_positive", "wrong_class", "poor_box"))
    partners = matches.detection_partners[single]
    assert len(np.unique(partners)) == len(partners)
    taken = matches.annotation_partners >= 0
    assert (matches.annotation_kinds[taken] == matches.detection_kinds[matches.annotation_partners[taken]]).all()
    assert (matches.annotation_kinds[~taken] == "missed").all()
    assert (detections.image_ids[single] == columns.annotation_image_ids[partners]).all()


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_mending_the_only_kind_of_error_there_is_gains_all_that_is_lacking(kind: str) -> None:
    columns = one_plate(COLONIES, [1, 1, 1, 1, 2])
    right = [(box, category, 0.5) for box, category in zip(COLONIES, [1, 1, 1, 1, 2], strict=True)]
    wrongs: dict[str, list[Found]] = {
        "wrong_class": [*right[:2], (COLONIES[2], 2, 0.9), *right[3:]],
        "poor_box": [*right[:2], ([120, 100, 40, 40], 1, 0.9), *right[3:]],
        "merged": [([8, 8, 44, 24], 1, 0.9), *right[2:]],
        "duplicate": [(COLONIES[2], 1, 0.9), *right],
        "background": [([400, 400, 20, 20], 1, 0.9), *right],
        "missed": right[:3] + right[4:],
    }
    wrong = wrongs[kind]
    gains = error_gains(columns, detect(*wrong), CountRule())["all"]["all"]
    lacking = 1 - coco_metrics(columns, detect(*wrong))["map_50"]
    assert lacking > 0.02
    assert gains.pop(kind) == pytest.approx(lacking)
    assert set(gains.values()) == {0.0}


def test_figures_of_a_perfect_detector_are_perfect_and_certain() -> None:
    columns = make_columns([0, 1, 30, 300])
    metrics = score_detections(columns, perfect(columns), CountRule(0.5, "val")).metrics
    assert metrics["map"] == pytest.approx(1.0)
    assert (metrics["counting"]["mae"], metrics["counting"]["r2"]) == (0.0, 1.0)
    assert metrics["confidence"]["mae"] == [0.0, 0.0]
    assert metrics["confidence"]["map"] == pytest.approx([1.0, 1.0])
    assert metrics["errors"]["detections"]["true_positive"] == 331
    assert set(metrics["errors"]["gains"]["all"]["all"].values()) == {0.0}
    assert np.trace(np.array(metrics["confusion"]["matrix"])) == 331
    assert metrics["counting"]["empty_plates"]["false_alarm_share"] == 0.0


def test_figures_of_nothing_are_null_with_a_reason() -> None:
    nothing = make_columns([0])
    metrics = score_detections(nothing, Detections.concatenate([]), CountRule()).metrics
    assert (metrics["map"], metrics["counting"]["r2"], metrics["confidence"]["map"]) == (None, None, None)
    assert metrics["reasons"]["map"] == "no annotation"
    assert metrics["reasons"]["counting.r2"] == "only one plate"
    assert metrics["counting"]["mae"] == 0.0, "an empty plate, counted as empty"
    no_plate = score_detections(make_columns([]), Detections.concatenate([]), CountRule()).metrics
    assert no_plate["counting"]["mae"] is None
    assert {no_plate["reasons"][key] for key in ("counting.mae", "counting.per_class.class 2")} == {"no plate"}


def test_intervals_narrow_with_plates_and_hold_the_figure() -> None:
    few, many = (make_columns([10] * count) for count in (8, 200))
    widths = []
    for columns in (few, many):
        detections = noisy(columns)
        low, high = confidence_intervals(columns, detections, *count_per_image(columns, detections))["map_50"]
        assert low <= coco_metrics(columns, detections)["map_50"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_a_model_differs_from_itself_by_nothing_and_from_a_worse_one_beyond_noise() -> None:
    columns = make_columns([20] * 40)
    same = compare_models(columns, noisy(columns), noisy(columns))["map"]
    assert (same["delta"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    better = compare_models(columns, noisy(columns), perfect(columns))["map"]
    assert 0 < better["low"] <= better["delta"] <= better["high"]
