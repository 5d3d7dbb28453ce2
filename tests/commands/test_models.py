"""`agar models`: the table of detectors agrees with what is built, and `--check` trains and exports one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner

from agar_pipeline.commands import agar
from agar_pipeline.config import DETECTORS, ModelConfig
from agar_pipeline.detection.fitting.model_fitting import make_spec
from agar_pipeline.detection.models.catalogue import PUBLISHED, TORCHVISION
from agar_pipeline.detection.models.families import build_model
from agar_pipeline.errors import ConfigError
from agar_pipeline.use_cases.model_list import Machine, list_models
from tests.conftest import CHECKOUT


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_finest_stride_are_those_of_the_model(name: str) -> None:
    figures = PUBLISHED[name]
    spec = make_spec(ModelConfig(name=name, backbone=figures.backbone), 1, 320, np.full(30, 12.0), 10)
    with torch.device("meta"):
        model: Any = build_model(spec).eval()
        levels = None if DETECTORS[name].takes_folder else model.backbone(torch.zeros(1, 3, 320, 320))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert figures.parameters_m == pytest.approx(millions, abs=0.06)
    assert levels is None or figures.finest_stride == 320 // max(level.shape[-1] for level in levels.values())


def test_every_detector_is_listed_and_torchvisions_ap_is_as_published() -> None:
    rows = {row["name"]: row for row in list_models(Machine(2, None))}
    assert list(rows) == list(DETECTORS)
    for name, row in rows.items():
        if row["source"] == TORCHVISION:
            meta = torchvision.models.get_model_weights(name).COCO_V1.meta
            assert row["coco_ap"] == meta["_metrics"]["COCO-val2017"]["box_map"]
            assert row["licence_of_weights"]
        assert (row["coco_ap"] is None) == (row["source"] is None), "each figure has its source"


def test_what_is_recommended_depends_on_the_machine() -> None:
    def recommended(machine: Machine) -> set[str]:
        return {row["name"] for row in list_models(machine) if row["recommended"]}

    assert recommended(Machine(2, None)) == {"tiny"}
    assert recommended(Machine(8, 80.0)) >= {"tiny", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn", "retinanet"}
    assert "fasterrcnn_resnet50_fpn_v2" not in recommended(Machine(8, 4.0)), "5.8 GB were measured"
    assert not recommended(Machine(8, 80.0)) & {"ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_fpn"}


def test_the_list_needs_no_torch_and_names_sources() -> None:
    code = (
        "import sys\nfrom agar_pipeline.commands import agar\n"
        "agar.main(sys.argv[1:], standalone_mode=False)\nassert not {'torch', 'timm'} & sys.modules.keys()"
    )
    env = {"CUDA_VISIBLE_DEVICES": "", "PATH": "", "HOME": "/nonexistent"}
    shown = [
        subprocess.run(
            [sys.executable, "-c", code, "models", *words], cwd=CHECKOUT, env=env, capture_output=True, text=True
        )
        for words in ((), ("--json",))
    ]
    assert [done.returncode for done in shown] == [0, 0], shown[0].stderr + shown[1].stderr
    assert all(name in shown[0].stdout for name in DETECTORS)
    assert "[1] torchvision" in shown[0].stdout
    plain = json.loads(shown[1].stdout)
    assert {"name", "parameters_m", "licence_of_weights", "coco_ap", "source", "extra", "input"} <= plain["models"][
        0
    ].keys()


@pytest.mark.slow
def test_a_check_trains_one_step_and_exports() -> None:
    done = CliRunner().invoke(agar, ["models", "--check", "timm/test_resnet.r160_in1k", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["losses"]["loss"] > 0
    assert found["onnx"]["exported"], found["onnx"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("retinanett", "write retinanet, if"), ("timm/resnet19", "resnet18"), ("nonsense", "\nwrite one of tiny, ")],
)
def test_a_check_of_a_wrong_name_names_the_nearest_if_one_is_near(name: str, words: str) -> None:
    done = CliRunner().invoke(agar, ["models", "--check", name])
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)
    assert name in str(done.exception)
    assert len(str(done.exception).splitlines()) <= 3
