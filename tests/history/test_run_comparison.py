"""Two runs side by side, from what their artifacts recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.artifacts import ARTIFACTS, Artifact
from agar_pipeline.coco.detections import Detections
from agar_pipeline.coco.writer import write_coco
from agar_pipeline.errors import ArtifactError
from agar_pipeline.history.run_comparison import compare_runs, find_evaluation, list_evaluations
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.score import score_detections
from agar_pipeline.store import Content, Key, Store
from tests.conftest import Run, runner
from tests.scoring.test_average_precision import make_columns, noisy, perfect

COLUMNS = make_columns([10] * 20)


def build(store: Store, key: Key, config: dict[str, Any], inputs: dict[str, Artifact], files: dict[str, Any]) -> Any:
    def write(folder: Path) -> None:
        for name in ARTIFACTS[key.asset].files:
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(json.dumps(files.get(name, "")))
        if key.asset == "coco_cache":
            write_coco(folder / "coco" / "val.json", COLUMNS)

    contents = {name: Content.of(artifact.manifest) for name, artifact in inputs.items()}
    return store.build(key, config, contents, write, lambda text: None).artifact


def evaluate(store: Store, cache: Artifact, experiment: str, lr: float, detections: Detections) -> Artifact:
    smoke = build(store, Key("smoke_run", experiment), {}, {"coco_cache": cache}, {})
    inputs = {"coco_cache": cache, f"{experiment}/smoke_run": smoke}
    config = {"optimizer": {"lr": lr}, "seed": 0}
    run = build(store, Key("training_run", experiment), config, inputs, {"metrics.csv": lr})
    metrics = score_detections(COLUMNS, detections, CountRule(0.5, "val")).metrics | {"part": "val"}
    files = {"metrics.json": metrics, "predictions.json": detections.to_coco()}
    inputs = {"coco_cache": cache, f"{experiment}/training_run": run}
    return build(store, Key("evaluation", experiment), {"part": "val"}, inputs, files)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    cache = build(store, Key("coco_cache"), {}, {}, {})
    evaluate(store, cache, "a", 0.1, noisy(COLUMNS))
    evaluate(store, cache, "b", 0.2, perfect(COLUMNS))
    evaluate(store, cache, "b", 0.3, noisy(COLUMNS, 5))
    return tmp_path


def test_runs_are_told_apart_by_config_and_figures(home: Path) -> None:
    store = Store(home)
    answer = compare_runs(store, "a", "b")
    assert answer["config"] == ["training_run.optimizer.lr 0.1 → 0.3"]
    assert answer["data"] == ["unknown: a snapshot was dropped by `agar clean`"]
    one, two = answer["metrics"]["map"]
    assert answer["difference"]["map"]["delta"] == pytest.approx(two - one, abs=1e-4)
    best = next(row for row in list_evaluations(store) if not row["latest"])
    against_best = compare_runs(store, "a", best["evaluation"][:10])
    assert against_best["difference"]["map"]["low"] > 0
    assert len(list_evaluations(store)) == 3
    with pytest.raises(ArtifactError, match=r"'c' is not an experiment.*\n.*: ([ab] [0-9a-f]{12}(, |$)){3}"):
        find_evaluation(store, "c")


def test_one_run_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    store = Store(tmp_path)
    only = evaluate(store, build(store, Key("coco_cache"), {}, {}, {}), "a", 0.1, noisy(COLUMNS))
    row, why, following = runner({"AGAR_HOME": str(tmp_path)})("agar", "compare").stdout.splitlines()
    assert row.endswith("latest")
    assert why == "there is no second run to compare it with"
    assert following == f"next: agar view --run {only.manifest.fingerprint[:8]}"


def test_agar_compare_prints_both_and_says_what_is_noise(home: Path) -> None:
    run: Run = runner({"AGAR_HOME": str(home)})
    done = run("agar", "compare", "a", "b")
    assert done.returncode == 0, done.stderr
    assert "training_run.optimizer.lr 0.1 → 0.3" in done.stdout
    assert "within the noise of plates" in done.stdout
    *rows, following = run("agar", "compare").stdout.splitlines()
    assert [line.endswith("latest") for line in rows] == [True, False, True]
    assert all("count error" in line for line in rows)
    assert run("agar", *following.removeprefix("next: agar ").split()).returncode == 0
    assert run("agar", "compare", "a").returncode == 2
    unknown = run("agar", "compare", "a", "zzzzz")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (1, 2)
