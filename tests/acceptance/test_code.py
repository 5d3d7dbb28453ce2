"""Case 52: other code, another version of a library, other weights behind the same word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from agar_pipeline.store import Key
from tests.acceptance.grading import right
from tests.acceptance.lab import Lab
from tests.conftest import CHECKOUT

WORD, FILE = "IMAGENET1K_V1", "mobilenet_v3_large-8738ca79.pth"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package that takes the place of the installed one where PYTHONPATH names its folder."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "agar_pipeline", tmp_path / "code" / "agar_pipeline", ignore=skip)
    return tmp_path / "code"


def edit(package: Path, name: str, old: str, new: str) -> None:
    path = package / "agar_pipeline" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def notes(lab: Lab, **env: Any) -> dict[str, list[str]]:
    """Asset → what the plan notes, of those with notes."""
    assets = json.loads(lab.call("plan", "--json", **env).stdout)["assets"]
    return {asset["asset"]: asset["notes"] for asset in assets if asset["notes"]}


def test_case_52_edited_code_and_upgraded_libraries(trained: Lab, package: Path) -> None:
    env = {"PYTHONPATH": str(package)}
    right(notes(trained, **env) == {}, "the same code is called other code")
    edit(package, "detection/training/schedule.py", '"""', '"""Another docstring. ')
    right(notes(trained, **env) == {}, "a docstring is called code")
    edit(package, "detection/training/schedule.py", "        return ", "        len(())\n        return ")
    by_asset = notes(trained, **env)
    right(by_asset.keys() == {"small/smoke_run", "small/training_run"}, f"edited code is noted for {by_asset}")
    right(by_asset["small/training_run"] == ["made by other code: detection/training/schedule.py"], str(by_asset))
    newer = package / "hotcoco-99.0.dist-info"
    newer.mkdir()
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: hotcoco\nVersion: 99.0\n")
    scored = notes(trained, **env)["small/evaluation"]
    right(len(scored) == 1 and scored[0].startswith("hotcoco ") and scored[0].endswith(" → 99.0"), str(scored))


def test_case_52_strict_makes_other_code_stale(lab: Lab, package: Path) -> None:
    with lab.pipeline(code="strict"):
        lab.run("run", "snapshot", "split", "coco_cache", "bbox_report")
        right(
            not lab.plan().keys() & {"snapshot", "split", "coco_cache", "bbox_report"}, "strict never comes to an end"
        )
        edit(package, "splitting/random_draw.py", "    return ", "    len(())\n    return ")
        planned = lab.plan(PYTHONPATH=str(package))
    right("snapshot" not in planned, "code that the snapshot does not run made it stale")
    right({planned[name]["state"] for name in ("split", "coco_cache")} == {"stale"}, str(planned))
    right(planned["split"]["reasons"] == ["made by other code: splitting/random_draw.py"], str(planned["split"]))
    lab.run("run", "snapshot", "split", "coco_cache", "bbox_report")


def test_case_52_weights_behind_a_word(trained: Lab, tmp_path: Path) -> None:
    path = tmp_path / "hub" / "checkpoints" / FILE
    path.parent.mkdir(parents=True)
    torch.save(torchvision.models.mobilenet_v3_large().state_dict(), path)
    (trained.configs / "experiment" / "words.yaml").write_text(
        "# @package _global_\n"
        f"model: {{name: fasterrcnn_mobilenet_v3_large_320_fpn, weights_backbone: {WORD}}}\n"
        "data: {input_size: 128, batch_size: 2}\n"
        "trainer: {max_epochs: null, max_steps: 1, accelerator: cpu}\n"
    )
    trained.run("smoke", "experiment=words", TORCH_HOME=str(tmp_path))
    with trained.pipeline(experiments="[small, words]"):
        right("words/smoke_run" not in notes(trained, TORCH_HOME=str(tmp_path)), "the same weights are called others")
        torch.save(torchvision.models.mobilenet_v3_large().state_dict(), path)
        noted = notes(trained, TORCH_HOME=str(tmp_path))["words/smoke_run"]
    right(len(noted) == 1 and f"weights of the backbone {WORD} were replaced" in noted[0], str(noted))
    root = trained.store.latest(Key("smoke_run", "words"))
    machine = json.loads((root / "manifest.json").read_text())["machine"] if root else {}
    right(machine.get("weights", {}).keys() == {f"backbone {WORD}"}, str(machine))
