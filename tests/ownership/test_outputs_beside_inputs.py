"""Commands that need no database, told to write where their inputs, photos or other people's files lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from agar_pipeline.commands import agar
from agar_pipeline.errors import PipelineError
from tests.commands.test_evaluate_predict import plates  # noqa: F401
from tests.conftest import BIN, CHECKOUT
from tests.ownership.test_folders_of_others import LIST, bytes_of

RESULT = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}


@dataclass(frozen=True)
class Done:
    """What came of a command, in this process: a new one would import torch each time."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str) -> Done:
        done = CliRunner().invoke(agar, list(arguments), env={"AGAR_HOME": str(tmp_path / "home")})
        if done.exception is not None and not isinstance(done.exception, SystemExit | PipelineError):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr + str(done.exception or ""))

    return call


@pytest.fixture
def lab(plates: Path, tmp_path: Path) -> Path:  # noqa: F811
    """Photos, annotations, predictions and a checkpoint, all in one folder."""
    shutil.copytree(plates, tmp_path / "lab")
    (tmp_path / "lab" / "predictions.json").write_text(json.dumps([RESULT]))
    return tmp_path / "lab"


def test_evaluate_writes_beside_its_inputs_but_never_over_them(lab: Path, run: Run) -> None:
    def evaluate(out_dir: Path, predictions: Path = lab / "predictions.json") -> tuple[int, str]:
        given = ("--predictions", str(predictions), "--json", str(lab / "val.json"), "--out-dir", str(out_dir))
        done = run("evaluate", *given, "--score-threshold", "0.5", "--pictures", "0")
        return done.returncode, done.stderr

    before, out = bytes_of(lab), lab / "scores"
    code, told = evaluate(lab)
    assert (code, len(told.splitlines())) == (1, 2), told
    assert "original photos or inputs" in told
    assert "predictions.json" in told
    assert bytes_of(lab) == before
    out.mkdir()
    (out / "metrics.json").write_text("of another tool")
    code, told = evaluate(out)
    assert (code, "1 file in the way" in told, "metrics.json was not written by agar" in told) == (
        1,
        True,
        True,
    ), told
    assert (out / "metrics.json").read_text() == "of another tool"
    (out / "metrics.json").rename(out / "theirs.json")
    assert evaluate(out)[0] == evaluate(out)[0] == 0, "our own scores are replaced"
    assert "inputs" in evaluate(out, out / "predictions.json")[1], "by what was made from them they are not"
    (out / "metrics.json").write_text("edited")
    assert "metrics.json was changed since" in evaluate(out)[1]
    assert (out / "metrics.json").read_text() == "edited"
    assert (out / "theirs.json").read_text() == "of another tool"
    assert {name: now for name, now in bytes_of(lab).items() if name in before} == before


def test_predict_into_the_folder_of_the_photos_leaves_them_alone(lab: Path, run: Run) -> None:
    shutil.move(lab / "predictions.json", lab / "mine.json")
    before = bytes_of(lab)
    command = ("predict", str(lab), "--checkpoint", str(lab / "best.ckpt"), "--out-dir", str(lab))
    first = run(*command)
    assert first.returncode == 0, first.stderr
    counts = (lab / "counts.csv").read_text()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert (lab / "counts.csv").read_text() == counts, "what the first run drew is no photo"
    assert {name: now for name, now in bytes_of(lab).items() if name in before} == before
    (lab / "counts.csv").write_text("checked by hand")
    refused = run(*command)
    assert (refused.returncode, "counts.csv was changed since" in refused.stderr) == (1, True), refused.stderr
    assert refused.stdout == "", "before anything was counted"


def test_nothing_is_written_beside_photos_and_drawn_pictures_are_no_photos(lab: Path, run: Run) -> None:
    before, day = bytes_of(lab), lab / "day 1"
    predict = ("predict", str(lab), "--checkpoint", str(lab / "best.ckpt"))
    score = ("evaluate", "--predictions", str(lab / "predictions.json"), "--json", str(lab / "val.json"))
    photo = next(day.glob("*.jpg"))
    for words in ((*predict, "--out-dir", str(day)), (*score, "--score-threshold", "0.5", "--out-dir", str(day))):
        refused = run(*words)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 2), refused.stderr
        assert f"{day} holds photos (b.png, ä 100 %.jpg), and {words[0]} would write beside them" in refused.stderr
        assert f"write to a separate folder, such as {day}-{words[0]}" in refused.stderr
    assert bytes_of(lab) == before
    day.rename(lab / "pictures")
    above = run("predict", str(lab / "pictures"), *predict[2:], "--out-dir", str(lab))
    assert (above.returncode, f"{lab / 'pictures'} holds photos" in above.stderr) == (1, True), above.stderr
    (lab / "pictures").rename(day)
    assert bytes_of(lab) == before
    assert run(*predict, "--out-dir", str(lab / "counted")).returncode == 0
    again = run(*predict, "--json")
    assert [image["file_name"] for image in json.loads(again.stdout)["images"]] == [
        *("day 1/b.png", f"day 1/{photo.name}", "day 2/b.png"),
    ]


@pytest.mark.parametrize(
    ("command", "option", "target"),
    [
        (("inspect-coco", "--json", "val.json", "--images-dir", "."), "--report", "val.json"),
        (("inspect-coco", "--json", "val.json", "--images-dir", "."), "--html", "thesis.html"),
        (("export-model", "--checkpoint", "best.ckpt"), "--out", "best.ckpt"),
        (("export-model", "--checkpoint", "best.ckpt"), "--out", "thesis.html"),
    ],
)
def test_a_single_file_replaces_only_what_the_same_command_made(
    lab: Path, run: Run, command: tuple[str, ...], option: str, target: str
) -> None:
    (lab / "thesis.html").write_text("three years")
    before = bytes_of(lab)
    words = [str(lab / word) if (lab / word).exists() else word for word in command]
    refused = run(*words, option, str(lab / target))
    assert (refused.returncode, target in refused.stderr) == (1, True), refused.stderr
    assert bytes_of(lab) == before
    for _ in range(2 if command[0] == "inspect-coco" else 0):
        done = run(*words, option, str(lab / "mine.out"))
        assert done.returncode == 0, done.stderr
    assert {name: now for name, now in bytes_of(lab).items() if name in before} == before


def test_a_pipe_may_be_written_to(lab: Path, tmp_path: Path) -> None:
    """`runner` would write stdout of `agar` to a file."""
    words = ("inspect-coco", "--json", lab / "val.json", "--images-dir", lab, "--report", "/dev/stdout")
    env = os.environ | {"AGAR_HOME": str(tmp_path / "home")}
    command = [str(word) for word in (BIN / "agar", *words, "--html", "/dev/null")]
    done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"findings_listed"' in done.stdout
    assert not (lab / LIST).exists()
