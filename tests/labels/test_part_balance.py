"""How much parts differ: against scipy, by hand, and in words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.labels.part_balance import (
    critical_distance,
    kolmogorov_smirnov,
    measure_balance,
    part_drifts,
    total_variation,
)
from agar_pipeline.reports.balance_section import describe_balance


def columns(boxes_per_image: list[int], category_ids: list[int], side_px: float) -> CocoColumns:
    images = np.arange(1, len(boxes_per_image) + 1)
    count = sum(boxes_per_image)
    return CocoColumns(
        image_ids=images,
        file_names=np.array([f"{i}.jpg" for i in images], dtype=object),
        sizes_wh=np.full((len(images), 2), 100),
        annotation_ids=np.arange(1, count + 1),
        annotation_image_ids=np.repeat(images, boxes_per_image),
        annotation_category_ids=np.array(category_ids),
        boxes_xywh=np.tile([1.0, 1.0, side_px, side_px], (count, 1)),
        iscrowd=np.zeros(count, dtype=bool),
        category_ids=np.array([1, 2]),
        class_names=("<b>round</b>", "flat"),
    )


def test_the_distances_are_those_of_scipy_and_of_a_random_split() -> None:
    random = np.random.default_rng(0)
    one, two = np.sort(random.poisson(20, 300)), np.sort(random.poisson(23, 80))
    assert kolmogorov_smirnov(one, two) == pytest.approx(stats.ks_2samp(one, two).statistic)
    assert total_variation(np.array([3, 1]), np.array([1, 1])) == 0.25
    assert total_variation(np.array([0, 0]), np.array([1, 1])) is None
    drawn = [kolmogorov_smirnov(np.sort(random.random(300)), np.sort(random.random(80))) or 0 for _ in range(400)]
    assert 0.9 < np.mean(np.array(drawn) < (critical_distance(300, 80) or 0)) < 0.99


def test_parts_that_differ_are_told_and_empty_ones_are_null() -> None:
    train, val = columns([1] * 40, [1] * 20 + [2] * 20, 10), columns([9] * 20, [1] * 180, 20)
    drifts = part_drifts({"train": train, "val": val})
    assert drifts["val"].class_shares == {"<b>round</b>": 1.0, "flat": 0.0}
    assert (drifts["val"].class_distance, drifts["val"].boxes_per_image_distance) == (0.5, 1.0)
    assert (drifts["val"].median_box_side_px, drifts["train"].median_box_side_px) == (20, 10)
    words = describe_balance(measure_balance({"train": train, "val": val}))["verdict"]
    assert "These classes have no box in a part, though others have some: flat in val." in words
    assert "differ more than chance explains: train, val" in words
    nothing = columns([0, 0, 0], [], 1)
    empty = part_drifts({"train": train, "val": nothing})["val"]
    assert (empty.class_distance, empty.box_size_distance, empty.median_box_side_px) == (None, None, None)
    assert part_drifts({"train": dataclasses.replace(train)})["train"].class_distance is None
