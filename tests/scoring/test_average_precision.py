"""Metrics are COCO's where COCO is defined, and right where its cap of 100 makes it wrong."""

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional import mean_absolute_error, r2_score, symmetric_mean_absolute_percentage_error

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections, read_detections
from agar_pipeline.errors import AnnotationError
from agar_pipeline.scoring.average_precision import coco_metrics
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counting import count_errors, counting_metrics


def make_columns(boxes_per_image: list[int], seed: int = 0, num_classes: int = 3, crowd: float = 0.0) -> CocoColumns:
    """Images of 1000×1000 with boxes of 10 to 150 px; category ids 2, 4, 6…, listed backwards."""
    rng = np.random.default_rng(seed)
    total = sum(boxes_per_image)
    category_ids = np.arange(num_classes, 0, -1) * 2
    image_ids = np.arange(len(boxes_per_image)) * 7 + 5
    boxes = np.concatenate([rng.uniform(0, 850, (total, 2)), rng.uniform(10, 150, (total, 2))], axis=1)
    return CocoColumns(
        image_ids=image_ids,
        file_names=np.array([f"{i}.jpg" for i in image_ids], dtype=object),
        sizes_wh=np.full((len(image_ids), 2), 1000),
        annotation_ids=np.arange(total) + 1,
        annotation_image_ids=np.repeat(image_ids, boxes_per_image),
        annotation_category_ids=rng.choice(category_ids, total) if total else np.zeros(0, np.int64),
        boxes_xywh=boxes,
        iscrowd=rng.random(total) < crowd,
        category_ids=category_ids,
        class_names=tuple(f"class {c}" for c in category_ids),
    )


def perfect(columns: CocoColumns) -> Detections:
    scores = np.linspace(1, 0.5, len(columns.annotation_ids))
    return Detections(columns.annotation_image_ids, columns.annotation_category_ids, columns.boxes_xywh, scores)


def noisy(columns: CocoColumns, seed: int = 1) -> Detections:
    """Shifted boxes, some missed, some of another class, some invented."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(len(columns.annotation_ids)) < 0.85)
    boxes = columns.boxes_xywh[kept] + rng.normal(0, 6, (len(kept), 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    categories = columns.annotation_category_ids[kept].copy()
    wrong = rng.random(len(kept)) < 0.1
    categories[wrong] = rng.choice(columns.category_ids, wrong.sum())
    false = make_columns([3] * len(columns.image_ids), seed + 1, len(columns.category_ids))
    return Detections(
        np.concatenate([columns.annotation_image_ids[kept], false.annotation_image_ids]),
        np.concatenate([categories, false.annotation_category_ids]),
        np.concatenate([boxes, false.boxes_xywh]),
        rng.random(len(kept) + len(false.annotation_ids)).round(2),
    )


def to_coco(columns: CocoColumns) -> dict[str, Any]:
    return {
        "info": {},
        "images": [{"id": i, "width": 1000, "height": 1000} for i in columns.image_ids.tolist()],
        "categories": [{"id": i, "name": str(i)} for i in columns.category_ids.tolist()],
        "annotations": [
            {"id": i, "image_id": image, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": int(crowd)}
            for i, image, c, b, crowd in zip(
                columns.annotation_ids.tolist(),
                columns.annotation_image_ids.tolist(),
                columns.annotation_category_ids.tolist(),
                columns.boxes_xywh.tolist(),
                columns.iscrowd.tolist(),
                strict=True,
            )
        ],
    }


def _pycocotools(columns: CocoColumns, detections: Detections) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = to_coco(columns)
    results = np.column_stack([detections.image_ids, detections.boxes_xywh, detections.scores, detections.category_ids])
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize(
    ("boxes_per_image", "crowd"),
    [
        pytest.param([5, 0, 30, 12, 1], 0.0, id="plates with and without colonies"),
        pytest.param([20, 40], 0.2, id="crowds are ignored as COCO ignores them"),
        pytest.param([1], 0.0, id="one box"),
    ],
)
def test_coco_metrics_equal_pycocotools(boxes_per_image: list[int], crowd: float) -> None:
    columns = make_columns(boxes_per_image, crowd=crowd)
    detections = noisy(columns)
    ours, theirs = coco_metrics(columns, detections), _pycocotools(columns, detections)
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", None, None, "mar_max")
    for name, value in zip(names, theirs, strict=False):
        if name is not None:
            assert (-1.0 if ours[name] is None else ours[name]) == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("count", [150, 500])
def test_coco_metrics_of_a_perfect_detector_are_1_on_crowded_plates(count: int) -> None:
    columns = make_columns([count, count], num_classes=1)
    metrics = coco_metrics(columns, perfect(columns))
    assert metrics["map"] == metrics["mar_max"] == pytest.approx(1.0)
    assert metrics["max_detections"] == count


def test_coco_metrics_are_none_with_a_reason_where_undefined() -> None:
    nothing = make_columns([0, 0])
    metrics = coco_metrics(nothing, noisy(nothing))
    assert metrics["map"] is None
    assert metrics["reasons"]["map"] == "no annotation"
    missed = coco_metrics(make_columns([3]), Detections.concatenate([]))
    assert missed["map"] == 0.0
    assert "map" not in missed["reasons"]


def test_coco_metrics_name_classes_whatever_their_order() -> None:
    columns = make_columns([40, 40])
    only = np.flatnonzero(columns.annotation_category_ids == 2)
    per_class = coco_metrics(columns, perfect(columns).take(only))["per_class"]
    assert per_class["class 2"]["map"] == pytest.approx(1.0)
    assert per_class["class 2"]["num_annotations"] == len(only)
    assert per_class["class 4"]["map"] == per_class["class 6"]["map"] == 0.0


def test_coco_metrics_refuse_predictions_of_another_file() -> None:
    columns = make_columns([3])
    stray = Detections(np.array([999]), np.array([2]), np.ones((1, 4)), np.ones(1))
    with pytest.raises(AnnotationError, match="999"):
        coco_metrics(columns, stray)


def test_counting_metrics_follow_their_formulas() -> None:
    columns = make_columns([0, 10, 100, 400])
    truth = perfect(columns)
    one = np.array([0])
    extra = Detections(columns.image_ids[:1], columns.category_ids[:1], np.ones((1, 4)), np.array([0.9]))
    rows = np.concatenate([np.arange(8), np.arange(10, 510)])  # two colonies of the second plate are missed
    counting = counting_metrics(columns, Detections.concatenate([truth.take(rows), extra.take(one)]), CountRule())
    assert counting["mae"] == pytest.approx((1 + 2) / 4)
    assert counting["me"] == pytest.approx((1 - 2) / 4)
    assert counting["smape"] == pytest.approx((200 + 200 * 2 / 18) / 4)
    assert counting["within_10_percent"] == 0.5
    assert [group["num_images"] for group in counting["per_density"].values()] == [1, 1, 1, 0, 1]
    assert counting["per_density"]["101-300"]["mae"] is None


@pytest.mark.parametrize("most", [0, 3, 300])
def test_count_errors_are_those_of_torchmetrics(most: int) -> None:
    predicted, truth = np.random.default_rng(most).integers(0, most + 1, (2, 200))
    p, g = torch.from_numpy(predicted).double(), torch.from_numpy(truth).double()
    found = count_errors(predicted, truth)
    assert found["mae"] == pytest.approx(float(mean_absolute_error(p, g)))
    assert found["smape"] == pytest.approx(100 * float(symmetric_mean_absolute_percentage_error(p, g)))
    assert found["r2"] == (pytest.approx(float(r2_score(p, g))) if most else None)


def test_detections_survive_coco_results_format(tmp_path: Path) -> None:
    detections = noisy(make_columns([5, 9]))
    for written in (detections, Detections.concatenate([])):
        (tmp_path / "predictions.json").write_text(json.dumps(written.to_coco()))
        again = read_detections(tmp_path / "predictions.json")
        assert len(again) == len(written)
        assert sorted(again.scores.tolist()) == pytest.approx(sorted(written.scores.tolist()))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"score": 2.0}, "results[1].score is 2.0, but must be a number from 0 to 1"),
        ({"score": float("nan")}, "results[1].score is nan"),
        ({"score": True}, "results[1].score is True"),
        ({"bbox": [float("nan"), 1, 2, 3]}, "results[1].bbox is [nan, 1, 2, 3], but must be four finite numbers"),
        ({"bbox": [1, 1, -2, 3]}, "results[1].bbox is [1, 1, -2, 3]"),
        ({"bbox": [0, 0, 1e300, 1e300]}, "results[1].bbox"),
        ({"bbox": [1, 2, 3]}, "results[1].bbox is [1, 2, 3], but must be a list of four numbers"),
        ({"bbox": ["1", "2", "3", "4"]}, "results[1].bbox is ['1', '2', '3', '4'], but must be a list of four numbers"),
        ({"image_id": 1.7}, "results[1].image_id is 1.7, but must be a whole number"),
        ({"image_id": 2**70}, "results[1].image_id is 1.1805916207174113e+21, but must be a whole number"),
        ({"category_id": "1"}, "results[1].category_id is '1', but must be a whole number"),
    ],
    ids=str,
)
def test_what_is_no_coco_result_is_refused_with_its_place(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    right = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    (tmp_path / "predictions.json").write_text(json.dumps([right, right | wrong]))
    with pytest.raises(AnnotationError, match=re.escape(f"predictions.json: {said}")) as caught:
        read_detections(tmp_path / "predictions.json")
    assert caught.value.next_step


def test_sizes_are_those_of_the_photo_where_a_cache_holds_smaller_copies() -> None:
    columns = make_columns([20, 30])
    detections = noisy(columns)
    shrunk = dataclasses.replace(
        columns,
        sizes_wh=columns.sizes_wh // 4,
        boxes_xywh=columns.boxes_xywh / 4,
        original_sizes_wh=columns.sizes_wh,
    )
    smaller = dataclasses.replace(detections, boxes_xywh=detections.boxes_xywh / 4)
    whole, part = coco_metrics(columns, detections), coco_metrics(shrunk, smaller)
    assert part["map_large"] == pytest.approx(whole["map_large"], abs=1e-6)
    assert part["map_medium"] == pytest.approx(whole["map_medium"], abs=1e-6)
