"""Scores are compared with the share of right detections, as hotcoco compares them."""

from __future__ import annotations

import numpy as np
import pytest
from hotcoco import COCO, COCOeval

from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.reliability import reliability
from tests.scoring.test_average_precision import make_columns, noisy, to_coco


def test_reliability_equals_hotcocos_for_each_class() -> None:
    columns = make_columns([20, 35, 0, 60], num_classes=2)
    detections = noisy(columns)
    bins = reliability(columns, detections)
    truth = COCO(to_coco(columns))
    for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True):
        of = detections.take(np.flatnonzero(detections.category_ids == category_id))
        evaluation = COCOeval(truth, truth.load_res(of.to_coco()), "bbox")
        evaluation.evaluate()
        theirs = evaluation.calibration()
        ours = bins[name]
        assert ours is not None
        assert ours["count"] == [one["count"] for one in theirs["bins"]]
        assert ours["ece"] == pytest.approx(theirs["ece"], abs=1e-6)
        for key, their_key in (("score", "avg_confidence"), ("precision", "avg_accuracy")):
            values = [one[their_key] if one["count"] else None for one in theirs["bins"]]
            assert ours[key] == [value if value is None else pytest.approx(value, abs=1e-5) for value in values]


def test_a_class_without_detections_has_no_reliability() -> None:
    columns = make_columns([20, 35])
    detections = noisy(columns)
    some = detections.take(np.flatnonzero(detections.category_ids != 4))
    assert [name for name, of in reliability(columns, some).items() if of is None] == ["class 4"]
    cut = Detections(some.image_ids, some.category_ids, some.boxes_xywh, some.scores, 0.3)
    assert set(reliability(columns, cut).values()) == {None}
