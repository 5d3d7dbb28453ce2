"""From detections to counts: which classes count, from which score, and the file that says so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import CountingConfig, from_plain
from agar_pipeline.counting.calibration import Calibration, calibrate
from agar_pipeline.errors import ArtifactError, ConfigError
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.score import score_detections
from tests.scoring.test_average_precision import make_columns, perfect


@pytest.fixture
def plates() -> tuple[CocoColumns, Detections]:
    """The colonies of the first class are found with a score of 0.7, those of the others with 0.3."""
    columns = make_columns([12, 30, 60])
    found = perfect(columns)
    is_first = found.category_ids == columns.category_ids[0]
    scores = np.where(is_first, 0.7, 0.3)
    return columns, Detections(found.image_ids, found.category_ids, found.boxes_xywh, scores)


def test_a_threshold_is_chosen_for_the_classes_that_count(plates: tuple[CocoColumns, Detections]) -> None:
    columns, detections = plates
    first, *others = columns.class_names
    everything = calibrate(CountingConfig(), columns, detections).rule
    assert everything.threshold <= 0.3, "all classes are needed for the count"
    one = calibrate(CountingConfig(classes=(first,)), columns, detections).rule
    metrics = score_detections(columns, detections, one).metrics["counting"]
    assert metrics["mae"] == 0
    assert metrics["reported_apart"] == others
    assert metrics["per_class"][others[0]]["mae"] is not None, "reported, and not counted"
    assert sum(row["num_images"] for row in metrics["per_density"].values()) == 3
    fixed = calibrate(CountingConfig(threshold="fixed", fixed_threshold=0.5), columns, detections).rule
    assert (fixed.threshold, fixed.chosen_by) == (0.5, "fixed")
    with pytest.raises(ConfigError, match=r"counting\.classes=Mould is no class of the data"):
        calibrate(CountingConfig(classes=("Mould",)), columns, detections)


def test_without_val_the_default_is_used_and_says_so(plates: tuple[CocoColumns, Detections]) -> None:
    columns, detections = plates
    nothing = columns.take_images(np.zeros(0, np.int64))
    default = calibrate(CountingConfig(), nothing, Detections.concatenate([])).rule
    assert (default.threshold, default.chosen_by) == (0.5, "default")
    assert "no val was scored" in default.chosen_on
    capped = calibrate(CountingConfig(), columns, dataclasses.replace(detections, complete_from=0.2)).rule
    assert (capped.threshold, "limit of detections" in capped.chosen_on) == (0.5, True)


def test_a_calibration_survives_its_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counting.json"
    calibration = Calibration(CountRule(0.4, "val", "f1", {"E.coli": 0.6}, ("E.coli", "S.aureus")), (10, 300))
    calibration.write(path)
    assert Calibration.read(path) == calibration
    path.write_text(json.dumps(calibration.to_plain() | {"format": 99}))
    with pytest.raises(ArtifactError, match="has the format 99"):
        Calibration.read(path)
    for content in ("", "[]", "{}", '{"format": 1, "rule": {}}'):
        path.write_text(content)
        with pytest.raises(ArtifactError, match="cannot be read"):
            Calibration.read(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        Calibration.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"threshold": "fixed"}, "fixed_threshold is for"),
        ({"fixed_threshold": 0.5}, "fixed_threshold=0.5"),
        ({"threshold": "fixed", "fixed_threshold": 0.5, "per_class": True}, "per_class=True"),
        ({"countable": [250, 25]}, "smallest count first"),
        ({"classes": []}, "one class at least"),
        ({"classes": ["a", "a"]}, "each class that counts once"),
        ({"region": [0.5, 0.5, 0]}, "radius of a circle"),
        ({"region": "square"}, "region"),
        ({"coverage": 1}, "coverage"),
    ],
)
def test_a_wrong_section_is_named(plain: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_plain(CountingConfig, plain, where="configs/pipeline/mine.yaml")
    assert said in str(refused.value)
