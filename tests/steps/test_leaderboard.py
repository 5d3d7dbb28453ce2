"""Experiments side by side: ranked, and a difference within noise is called that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agar_pipeline.artifacts import CocoCache, Evaluation
from agar_pipeline.config import LeaderboardConfig
from agar_pipeline.detection.coco import CocoColumns, write_coco
from agar_pipeline.detection.detections import Detections
from agar_pipeline.detection.scoring import score_detections
from agar_pipeline.steps import leaderboard
from tests.detection.test_metrics import make_columns, noisy, perfect


@pytest.fixture
def columns() -> CocoColumns:
    return make_columns([12] * 30)


def evaluated(root: Path, columns: CocoColumns, detections: Detections, training: dict[str, Any]) -> Evaluation:
    root.mkdir(parents=True)
    metrics = score_detections(columns, detections, {"value": 0.5, "chosen_on": "val"}).metrics
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
    leaderboard.build(config, tmp_path, print, CocoCache(tmp_path / "cache"), evaluations)
    import pandas as pd

    table = pd.read_parquet(tmp_path / "leaderboard.parquet").set_index("experiment")
    assert table.index[0] == "perfect_half"
    assert table.loc["perfect_half", "verdict"] == "leads"
    assert table.loc["nothing", "verdict"] == "behind"
    assert table.loc["good", "delta_high"] < 0
    assert table.loc["good", "seed_spread"] == table.loc["good_again", "seed_spread"] > 0
    without_leader = {name: of for name, of in evaluations.items() if name != "perfect_half"}
    leaderboard.build(
        LeaderboardConfig(tuple(without_leader)), tmp_path, print, CocoCache(tmp_path / "cache"), without_leader
    )
    verdicts = pd.read_parquet(tmp_path / "leaderboard.parquet").set_index("experiment")["verdict"].to_dict()
    assert "within the noise of plates" in verdicts.values()
    assert "the leader's recipe, another seed" in verdicts.values() or verdicts["like_good"] == "leads"
    assert "sortable" in (tmp_path / "report.html").read_text()
