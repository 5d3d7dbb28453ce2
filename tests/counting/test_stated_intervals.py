"""What an evaluation, its page and `agar predict` say about intervals and thresholds."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.commands.predict_words import print_counts
from agar_pipeline.config import CountingConfig
from agar_pipeline.counting.calibration import Calibration, calibrate
from agar_pipeline.counting.intervals import Band, CountIntervals, fit_intervals
from agar_pipeline.detection.inference.onnx_model import OnnxFacts, OnnxModel
from agar_pipeline.detection.inference.photo_folder import PhotoCount
from agar_pipeline.reports.number_formats import percent
from agar_pipeline.reports.scorecard import write_evaluation
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.use_cases.count_files import open_counts, write_counts
from tests.scoring.test_average_precision import make_columns, noisy, perfect


def score(columns: CocoColumns, detections: Detections, calibration: Calibration, out_dir: Path, **more: Any) -> str:
    """Write the files of an evaluation; return the page."""
    out_dir.mkdir()
    write_evaluation(
        columns, detections, out_dir, out_dir, calibration=calibration, pictures=0, title="some", log=print, **more
    )
    return (out_dir / "report.html").read_text()


def interval_in(out_dir: Path) -> tuple[Any, str | None]:
    metrics = json.loads((out_dir / "metrics.json").read_text())
    return metrics["counting"]["interval"], metrics["reasons"].get("counting.interval")


def test_an_evaluation_says_how_often_the_truth_lay_within(tmp_path: Path) -> None:
    val, other = make_columns([4, 9, 17, 30] * 10), make_columns([6, 8, 20, 30, 3], seed=9)
    on_val, on_other = noisy(val), noisy(other)
    calibration = calibrate(CountingConfig(coverage=0.8), val, on_val)
    page = score(val, on_val, calibration, tmp_path / "val", is_val=True)
    held, why = interval_in(tmp_path / "val")
    assert (held["plates"], held["coverage"], why) == (40, 0.8, None)
    assert held == {"coverage": 0.8, **vars(calibration.intervals.on_val), "how": held["how"]}
    assert "by the other plates" in held["how"]
    assert "80 % were stated" in page
    assert "Count error and F1 at each threshold" in page
    assert "How often a score is right" in page
    page = score(other, on_other, calibration, tmp_path / "other")
    kept = on_other.take(np.flatnonzero(on_other.scores >= calibration.rule.threshold))
    predicted = [np.count_nonzero(kept.image_ids == i) for i in other.image_ids]
    low, high = calibration.intervals.of(np.array(predicted)) or (np.array([]),) * 2
    true = np.array([6, 8, 20, 30, 3])
    within = int(((low <= true) & (true <= high)).sum())
    held, _ = interval_in(tmp_path / "other")
    assert (held["plates"], held["covered"], held["how"]) == (5, within, "calibrated on val")
    assert f"{percent(within / 5)} of 5 plates lay within" in page


def test_a_perfect_detector_states_no_width_and_too_few_plates_state_nothing(tmp_path: Path) -> None:
    val = make_columns([4, 9, 17, 30] * 8)
    score(val, perfect(val), calibrate(CountingConfig(), val, perfect(val)), tmp_path / "perfect", is_val=True)
    held, _ = interval_in(tmp_path / "perfect")
    assert (held["covered"], held["mean_width"]) == (32, 0)
    few = val.take_images(np.arange(22))
    found = perfect(few)
    calibration = calibrate(CountingConfig(), few, found)
    page = score(few, found, calibration, tmp_path / "few", is_val=True)
    assert interval_in(tmp_path / "few") == (None, "too few plates on val: 22; at least 30 are needed for 90 %")
    assert "too few plates on val: 22; at least 30 are needed for 90 %." in page
    assert "no interval is stated with the counts: too few plates on val: 22" in calibration.interval_words
    nothing = calibrate(CountingConfig(), val.take_images(np.zeros(0, np.int64)), Detections.concatenate([]))
    assert nothing.intervals.reason == "too few plates on val: 0; at least 30 are needed for 90 %"
    assert nothing.thresholds is None


def test_what_is_not_chosen_is_calibrated_and_what_is_given_instead_is_not(tmp_path: Path) -> None:
    val = make_columns([4, 9, 17, 30] * 8)
    detections = noisy(val)
    fixed = calibrate(CountingConfig(threshold="fixed", fixed_threshold=0.6), val, detections)
    counts = [np.count_nonzero((detections.image_ids == i) & (detections.scores >= 0.6)) for i in val.image_ids]
    assert fixed.intervals == fit_intervals(np.array(counts), np.array([4, 9, 17, 30] * 8), 0.9)
    given = fixed.with_threshold(0.3)
    assert given.interval(27) is None
    assert "another one is given" in given.interval_words
    detections = dataclasses.replace(detections, complete_from=0.2)
    capped = calibrate(CountingConfig(), val, detections)
    assert "limit of detections" in str(capped.intervals.reason)
    fixed.write(tmp_path / "counting.json")
    assert Calibration.read(tmp_path / "counting.json") == fixed


def test_predict_states_the_interval_beside_the_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = OnnxFacts(("white", "red"), (1, 2), 0.5, 100, None, 100)
    model = OnnxModel(None, facts)
    Image.new("RGB", (60, 40)).save(tmp_path / "plate.png")
    calibration = Calibration(CountRule(), intervals=CountIntervals(0.9, (Band(0, 0.6, 40),)))
    nothing = Detections.concatenate([])
    certain = PhotoCount(tmp_path / "plate.png", (60, 40), nothing, 27, calibration.interval(27))
    print_counts(model, [certain], calibration, [], as_json=False)
    assert "27 (24–30)" in capsys.readouterr().out
    print_counts(model, [dataclasses.replace(certain, interval=None)], calibration, [], as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["plate.png", "27"]
    for interval, low, high in (((24, 30), "24", "30"), (None, "", "")):
        folder = open_counts(tmp_path / f"counted-{low}", [certain.path], [])
        write_counts(model, [dataclasses.replace(certain, interval=interval)], calibration, folder)
        (row,) = csv.DictReader((tmp_path / f"counted-{low}" / "counts.csv").open())
        assert (row["colonies"], row["low"], row["high"]) == ("27", low, high)
