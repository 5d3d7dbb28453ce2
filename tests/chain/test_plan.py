"""The causes that a plan names are those of the asset's own inputs, whichever pipeline built the `latest` ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agar_pipeline.config import load_experiment, load_pipeline
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Key
from tests.coco_home import describe_plates
from tests.conftest import copy_configs
from tests.tiny_chain import TinyChain, quick_steps

DATA = [Key(asset) for asset in ("snapshot", "split", "coco_cache", "bbox_report")]
TRAINING = Key("training_run", "demo")


def test_after_another_pipeline_a_training_is_compared_with_what_it_read(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, step in quick_steps().items():
        monkeypatch.setitem(STEPS, name, step)
    generate_plates(tmp_path / "images", 8, 64, 0, None, (2, 4))
    monkeypatch.setenv("AGAR_CONFIGS", str(copy_configs(tmp_path / "configs")))
    whole, half = (chain_of(tmp_path, home, name, train) for name, train in (("whole", 6), ("half", 3)))
    whole.materialize([*DATA, Key("smoke_run", "demo"), TRAINING])
    half.materialize(DATA)
    path = tmp_path / "whole_train.json"
    plain = json.loads(path.read_text())
    plain["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(plain))
    whole.materialize([Key("snapshot")])
    plan = {line.key: line for line in whole.plan()}
    assert any("3 images added" in reason for reason in plan[Key("split")].reasons), "of the other pipeline's split"
    assert plan[TRAINING].reasons == (
        "comes after coco_cache, demo/smoke_run",
        "1 box changed in 1 image (1 moved): 1.jpg",
    )


def chain_of(folder: Path, home: Path, name: str, train: int) -> TinyChain:
    """A pipeline of its own over the first photos of train, and the same two of val."""
    for part, numbers in {"train": range(1, train + 1), "val": range(7, 9)}.items():
        (folder / f"{name}_{part}.json").write_text(json.dumps(describe_plates(folder / "images", numbers, 64)))
    files = {part: str(folder / f"{name}_{part}.json") for part in ("train", "val")}
    snapshot = {"source": "coco", "dataset": name, "images_dir": str(folder / "images"), "files": files}
    plain = {"snapshot": snapshot, "experiments": ["demo"]}
    (folder / "configs" / "pipeline" / f"{name}.yaml").write_text(json.dumps(plain))
    return TinyChain(home, load_pipeline(name), {"demo": load_experiment("demo")})
