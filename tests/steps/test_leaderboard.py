"""Experiments side by side: ranked, and a difference within noise is called that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agar_pipeline.artifacts import CocoCache, Evaluation
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.coco.writer import write_coco
from agar_pipeline.config import LeaderboardConfig
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.score import score_detections
from agar_pipeline.steps import leaderboard
from tests.scoring.test_average_precision import make_columns, noisy, perfect


@pytest.fixture
def columns() -> CocoColumns:
    return make_columns([12] * 30)


def evaluated(root: Path, columns: CocoColumns, detections: Detections, training: dict[str, Any]) -> Evaluation:
    root.mkdir(parents=True)
    metrics = score_detections(columns, detections, CountRule(0.5, "val")).metrics
    (root / "metrics.json").write_text(json.dumps(metrics | {"part": "val", "training": training}))
    (root / "predictions.json").write_text(json.dumps(detections.to_coco()))
    return Evaluation(root)


def test_leaderboard_says_which_differences_are_noise(tmp_path: Path, columns: CocoColumns) -> None:
    write_coco(tmp_path / "cache" / "coco" / "val.json", columns)
    almost = noisy(columns)
    half = perfect(columns).take(np.arange(0, len(columns.annotation_ids), 2))
    evaluations = {
        "good": evaluated(tmp_path / "good", columns, almost, {"seed": 0, "recipe": "a"}),
        "good_again": evaluated(tmp_path / "again", columns, noisy(columns, 2), {"seed": 1, "recipe": "a"}),
        "like_good": evaluated(tmp_path / "like", columns, noisy(columns, 3), {"seed": 0, "recipe": "b"}),
        "perfect_half": evaluated(tmp_path / "half", columns, half, {"seed": 0, "recipe": "c"}),
        "nothing": evaluated(tmp_path / "none", columns, Detections.concatenate([]), {"seed": 0, "recipe": "d"}),
    }
    config = LeaderboardConfig(tuple(evaluations))
    logged: list[str] = []
    leaderboard.build(config, tmp_path, logged.append, CocoCache(tmp_path / "cache"), evaluations)
    assert re.search(r"^perfect_half: mAP 0\.\d+, mAP@50 0\.\d+, highest mAP$", logged[0], re.MULTILINE)
    import pandas as pd

    table = pd.read_parquet(tmp_path / "leaderboard.parquet").set_index("experiment")
    assert table.index[0] == "perfect_half"
    assert table.loc["perfect_half", "verdict"] == "highest mAP"
    assert table.loc["nothing", "verdict"] == "behind"
    assert table["delta_high"]["good"] < 0
    assert table["seed_spread"]["good"] == table["seed_spread"]["good_again"] > 0
    once_each = {name: evaluations[name] for name in ("good", "like_good", "nothing")}
    leaderboard.build(LeaderboardConfig(tuple(once_each)), tmp_path, print, CocoCache(tmp_path / "cache"), once_each)
    verdicts = pd.read_parquet(tmp_path / "leaderboard.parquet")["verdict"].tolist()
    assert verdicts == ["highest mAP", "within the noise of plates", "behind"]
    assert "sortable" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        pytest.param({"a": [0.50], "b": [0.46]}, "behind", id="no recipe trained again: seeds unknown"),
        pytest.param({"a": [0.50, 0.46], "b": [0.47, 0.45]}, "within the noise of seeds", id="both trained again"),
        pytest.param({"a": [0.50], "b": [0.48, 0.44]}, "within the noise of seeds", id="one: the other scatters alike"),
        pytest.param({"a": [0.50, 0.499], "b": [0.47, 0.469]}, "behind", id="seeds agree"),
        pytest.param({"a": [0.52, 0.48], "b": [0.491, 0.490]}, "within the noise of seeds", id="a lucky seed leads"),
    ],
)
def test_a_difference_is_held_against_the_spread_of_seeds(runs: dict[str, list[float]], verdict: str) -> None:
    metrics = {
        f"{recipe}{seed}": dict.fromkeys(leaderboard.SCORES, value)
        | {"map": value, "training": {"recipe": recipe, "seed": seed}}
        for recipe, values in runs.items()
        for seed, value in enumerate(values)
    }
    table = leaderboard.rank(metrics)
    beyond_plates = {name: {"delta": -0.03, "low": -0.04, "high": -0.02} for name in table["experiment"][1:]}
    judged = leaderboard.add_differences(table, beyond_plates).set_index("experiment")
    assert judged.loc["b0", "verdict"] == verdict
    if len(runs["a"]) > 1:
        assert judged.loc["a1", "verdict"] == "the leader's recipe, another seed"
