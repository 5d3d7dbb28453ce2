"""`trainer.deterministic`: on while a training computes, known to its processes before torch starts, off afterwards."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from agar_pipeline.coco.columns import read_coco
from agar_pipeline.config import TrainerConfig, fingerprinted, load_experiment
from agar_pipeline.detection.training.determinism import determinism, explain_refusal, warn_of_chance
from agar_pipeline.detection.training.train import train
from tests.coco_home import describe_plates, make_home

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def mode() -> tuple[bool, str | None]:
    return torch.are_deterministic_algorithms_enabled(), os.environ.get(VARIABLE)


@pytest.mark.parametrize("asked", [True, False])
def test_torch_computes_as_asked_while_it_trains_and_no_longer(
    tmp_path: Path, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agar_pipeline.plates.generate import generate_plates

    monkeypatch.setenv(VARIABLE, ":0:0")
    generate_plates(tmp_path / "images", 3, 96, 0, None, (3, 8))
    (tmp_path / "a.json").write_text(json.dumps(describe_plates(tmp_path / "images", range(1, 4), 96)))
    limits = ["data.input_size=96", "data.batch_size=2", "trainer.max_steps=2", "trainer.accelerator=cpu"]
    config = load_experiment("tiny_steps", [*limits, f"trainer.deterministic={asked}"]).training_run
    columns = read_coco(tmp_path / "a.json")
    seen = []
    train(config, columns, columns, tmp_path / "images", tmp_path / "out", lambda line: seen.append((line, *mode())))
    (during,) = {tuple(state) for line, *state in seen if line.startswith("epoch")}
    assert during == ((True, ":4096:8") if asked else (False, ":0:0"))
    assert mode() == (False, ":0:0")


def test_the_processes_of_a_training_know_it_before_torch_starts(tmp_path: Path) -> None:
    """Python runs `sitecustomize` before anything else; CUDA reads the variable when its first handle is made."""
    run, _ = make_home(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"with open({str(tmp_path / 'seen')!r}, 'a') as stream:\n"
        f"    print(sys.orig_argv[-2:], os.environ.get({VARIABLE!r}), file=stream)\n"
    )
    words = ("experiment=tiny_steps", "data.input_size=96", "trainer.accelerator=cpu", "trainer.deterministic=true")
    done = run("agar", "smoke", *words, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    of_steps = [line for line in (tmp_path / "seen").read_text().splitlines() if "request.json" in line]
    assert of_steps
    assert all(":4096:8" in line for line in of_steps), of_steps


def test_a_training_on_a_gpu_says_that_it_is_not_repeatable() -> None:
    trainer = TrainerConfig(max_steps=1)
    assert "trainer.deterministic=true" in (warn_of_chance(trainer, "cuda") or "")
    assert warn_of_chance(trainer, "cpu") is None
    assert warn_of_chance(dataclasses.replace(trainer, deterministic=True), "cuda") is None


def test_an_operator_that_is_not_deterministic_is_refused_in_words() -> None:
    trainer = TrainerConfig(max_steps=1, deterministic=True)
    with determinism(trainer), pytest.raises(RuntimeError) as caught:
        torch.zeros(3).put_(torch.tensor([1]), torch.tensor([2.0]))
    told = explain_refusal(caught.value, "fcos_resnet50_fpn")
    assert told is not None
    assert told.where == "trainer.deterministic"
    assert "fcos_resnet50_fpn needs an operator that has no deterministic form here (put_" in told.what
    assert "set trainer.deterministic=false" in (told.next_step or "")
    assert explain_refusal(RuntimeError("something else"), "tiny") is None


def test_it_is_part_of_what_a_training_is() -> None:
    plain, asked = (load_experiment("tiny_steps", [f"trainer.deterministic={value}"]) for value in ("false", "true"))
    assert fingerprinted(plain.training_run) != fingerprinted(asked.training_run)
