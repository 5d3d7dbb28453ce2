"""A model that nobody should count with is called so, with the most likely reason; a good one is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.reports.scorecard import write_evaluation
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.usefulness import Lesson, explain_uselessness
from tests.detection.loading.test_dataset import columns_of

GOOD = Lesson(colony_px=20.0, steps=1000, photos=40)


@pytest.mark.parametrize(
    ("lesson", "reason"),
    [
        (Lesson(2.7, 1000, 40), "a typical colony is 2.7 px for the model"),
        (Lesson(20.0, 12, 40), "the model was trained for 12 steps only"),
        (Lesson(20.0, 1000, 6), "6 photos are too few to learn from"),
        (Lesson(None, 1000, 40), "the labels are inconsistent"),
        (GOOD, "the labels are inconsistent"),
    ],
)
def test_the_most_likely_reason_is_named(lesson: Lesson, reason: str) -> None:
    said = explain_uselessness(0.05, 12, lesson.to_plain())
    assert said is not None
    assert said.startswith("this model is of little use yet: mAP@50 is 0.050; do not use it to count\n")
    assert f"the most likely cause is that {reason}" in said


def test_a_good_model_and_one_that_could_not_be_scored_are_not_warned_about() -> None:
    assert explain_uselessness(0.5, 12, GOOD.to_plain()) is None
    assert explain_uselessness(None, 0, GOOD.to_plain()) is None
    assert "finds nothing at its score threshold" in (explain_uselessness(0.9, 0, None) or "")


def test_a_model_that_reaches_the_limit_of_detections_is_warned_about_with_what_to_do(tmp_path: Path) -> None:
    columns: CocoColumns = columns_of(tmp_path, [(200, 100)])
    found = Detections(
        columns.annotation_image_ids, columns.annotation_category_ids, columns.boxes_xywh,
        np.full(len(columns.boxes_xywh), 0.9), 0.3,
    )  # fmt: skip
    heard: list[str] = []
    (tmp_path / "out").mkdir()
    metrics = write_evaluation(
        columns, found, tmp_path, tmp_path / "out", calibration=Calibration(CountRule(0.5, "val")), pictures=1,
        title="t", log=heard.append, lesson=GOOD.to_plain(),
    )  # fmt: skip
    assert metrics["map_50"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "No error could be measured: the model reaches its limit of detections" in page
    assert "all of them count" not in page
    for text in (heard[0], metrics["warning"], page):
        assert "could not be scored; do not use it to count" in text
        assert "raise trainer.max_seconds" in text
    (tmp_path / "again").mkdir()
    heard.clear()
    metrics = write_evaluation(
        columns, dataclasses.replace(found, complete_from=0.06), tmp_path, tmp_path / "again",
        calibration=Calibration(CountRule(0.5, "val")), pictures=1, title="t", log=heard.append, lesson=GOOD.to_plain(),
    )  # fmt: skip
    assert (metrics["map_50"], metrics["counting"]["mae"], metrics["warning"]) == (1.0, 0.0, None)
    page = (tmp_path / "again" / "report.html").read_text()
    assert "Detections with scores up to 0.060 are left out on all photos" in page
    assert "all of them count" not in page
    assert "detections with scores up to 0.060 are left out" in heard[-1]


@pytest.mark.parametrize("useless", [True, False])
def test_the_page_the_metrics_and_the_log_begin_with_it(tmp_path: Path, useless: bool) -> None:
    columns: CocoColumns = columns_of(tmp_path, [(200, 100)])
    detections = Detections(
        columns.annotation_image_ids,
        columns.annotation_category_ids,
        columns.boxes_xywh + (60 if useless else 0),
        np.full(len(columns.boxes_xywh), 0.9),
    )
    heard: list[str] = []
    calibration = Calibration(CountRule(0.5, "val"))
    (tmp_path / "out").mkdir()
    metrics = write_evaluation(
        columns, detections, tmp_path, tmp_path / "out", calibration=calibration, pictures=1, title="t",
        log=heard.append, lesson=GOOD.to_plain(),
    )  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert (metrics["warning"] is not None) is useless
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["warning"] == metrics["warning"]
    assert ("do not use it to count" in heard[0]) is useless
    assert ("do not use it to count" in page) is useless
    if useless:
        assert page.index("do not use it to count") < page.index("On average, the count")
