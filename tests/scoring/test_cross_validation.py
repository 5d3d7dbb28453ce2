"""The figures of a cross-validation, on counts and detections whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.cross_validation import cross_validate
from tests.review.made_labels import make_labels


def test_perfect_detections_score_one_and_counts_have_errors_and_intervals() -> None:
    columns, _ = make_labels(6)
    perfect = Detections(
        columns.annotation_image_ids,
        columns.annotation_category_ids,
        columns.boxes_xywh,
        np.full(len(columns.annotation_ids), 0.9),
    )
    truth = np.array([10, 10, 10, 0, 20, 10])
    counts = truth + np.array([1, -1, 0, 0, 4, 0]), truth
    plain = cross_validate(columns, perfect, np.array([0, 0, 0, 1, 1, 1]), counts)
    assert plain["map"]["value"] == plain["map_50"]["value"] == pytest.approx(1)
    assert plain["count_mae"]["value"] == 1
    assert plain["count_mae"]["per_fold"] == pytest.approx([2 / 3, 4 / 3])
    assert plain["count_relative"]["value"] == pytest.approx(6 / 60)
    for name in ("count_mae", "count_relative"):
        assert 0 < plain[name]["low"] < plain[name]["value"] < plain[name]["high"]
    assert plain["reasons"] == {}


def test_what_cannot_be_computed_has_a_reason() -> None:
    columns, detections = make_labels(4)
    cut = Detections(detections.image_ids, detections.category_ids, detections.boxes_xywh, detections.scores, 0.3)
    zeros = np.zeros(4, np.int64)
    plain = cross_validate(columns, cut, np.array([0, 0, 1, 1]), (zeros, zeros))
    for name in ("map", "map_50", "count_mae", "count_relative"):
        assert plain[name]["value"] is plain[name]["low"] is None
        assert "limit of detections" in plain["reasons"][name]
    plain = cross_validate(columns, detections, np.array([0, 0, 1, 1]), (zeros, zeros))
    assert plain["count_relative"]["value"] is None
    assert plain["reasons"]["count_relative"] == "no colony is annotated"
