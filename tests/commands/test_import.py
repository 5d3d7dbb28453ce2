"""`agar import` on real annotated images, through the command and FiftyOne's own child process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agar_pipeline.commands.import_words import say_problems
from tests.conftest import Run, copy_configs, edit_samples, runner
from tests.fiftyone_io.conftest import agar_label, stop_keeper, write_plate


@pytest.fixture(scope="module")
def agar_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    yield folder
    stop_keeper(folder)


@pytest.fixture(scope="module")
def run(agar_home: Path) -> Run:
    return runner({"AGAR_HOME": str(agar_home)})


def test_real_plates_come_in_with_exactly_their_boxes_and_once(run: Run, shared_data: Path) -> None:
    command = ["import", "agar", "--images-dir", str(shared_data / "colonies"), "--dataset", "colonies"]
    first = run("agar", *command)
    assert first.returncode == 0, first.stderr
    assert "colonies: 684 images, 12,641 boxes, 9 classes (Blue 374, " in first.stdout
    assert "684 added, 0 updated, 0 unchanged\nnext: AGAR_PIPELINE=colonies agar run\n" in first.stdout
    again = run("agar", *command, AGAR_PIPELINE="colonies")
    assert "0 added, 0 updated, 684 unchanged\nnext: agar run\n" in again.stdout


def test_real_blood_smears_come_in_with_exactly_their_boxes_and_once(run: Run, shared_data: Path) -> None:
    command = ["import", "voc", "--images-dir", str(shared_data / "bccd"), "--dataset", "bccd", "--json"]
    first = run("agar", *command)
    counts = json.loads(first.stdout)
    assert "progress" not in first.stderr, "a child's progress is shown as a bar, not as its lines"
    assert (counts["added"], counts["boxes"], counts["problems"]) == (364, 4888, [])
    assert counts["classes"].keys() == {"RBC", "WBC", "Platelets"}
    counts = json.loads(run("agar", *command).stdout)
    assert (counts["added"], counts["updated"], counts["unchanged"]) == (0, 0, 364)


def test_a_pipeline_file_is_written_once_and_runs_as_it_stands(run: Run, shared_data: Path, tmp_path: Path) -> None:
    configs = copy_configs(tmp_path / "configs")
    photos = tmp_path / "photos"
    photos.mkdir()
    for stem in range(1, 31):
        for suffix in (".jpg", ".json"):
            shutil.copy(shared_data / "colonies" / f"{stem}{suffix}", photos)
    command = ("agar", "import", "agar", "--images-dir", str(photos), "--dataset", "mine: all", "--pipeline", "mine")
    env = {"AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "mine"}
    first = run(*command, **env)
    assert first.returncode == 0, first.stderr
    assert f"wrote {configs}/pipeline/mine.yaml" in first.stderr
    assert f"wrote {configs}/experiment/mine.yaml" in first.stderr
    assert first.stdout.endswith("next: agar run\n")
    done = run("agar", "run", "snapshot", "split", "coco_cache", "bbox_report", **env)
    assert done.returncode == 0, done.stderr
    chosen = run("agar", "config", "experiment=mine", **env)
    assert "data.input_size is 192 for the current COCO cache" in chosen.stdout, "100-px crops, enlarged twice at most"
    assert "photos scaled to 192 px: a colony is" in chosen.stdout
    frozen = run("agar", "tune-data", "experiment=mine", **env)
    assert frozen.stderr.startswith(f"wrote {configs}/data/mine.yaml")
    assert "write `- override /data: mine` below `defaults:`" in frozen.stderr
    experiment = configs / "experiment" / "mine.yaml"
    experiment.write_text(experiment.read_text().replace("/data: auto", "/data: mine"))
    assert "data.input_size: 192" in run("agar", "config", "experiment=mine", **env).stdout
    assert "holds the same values: nothing to do" in run("agar", "tune-data", "experiment=mine", **env).stderr
    other = run("agar", "tune-data", "experiment=mine", "data.input_size=96", **env)
    assert "input_size is 192 in mine.yaml; with these arguments, 96 would be chosen" in other.stdout
    data = configs / "data" / "mine.yaml"
    data.write_text(data.read_text().replace("input_size: 192", "input_size: 128"))
    again = run("agar", "tune-data", "experiment=mine", **env)
    assert "input_size is 128 in mine.yaml; with these arguments, 192 would be" in again.stdout
    planned = json.loads(run("agar", "plan", "--json", "--experiment", "mine", **env).stdout)["assets"]
    notes = [note for line in planned for note in line["notes"]]
    assert notes == ["frozen by agar tune-data; today auto would choose: input_size 192 instead of 128"]
    edited = (configs / "pipeline" / "mine.yaml").read_text() + "# mine\n"
    (configs / "pipeline" / "mine.yaml").write_text(edited)
    again = run(*command, **env)
    assert "wrote" not in again.stderr
    assert (configs / "pipeline" / "mine.yaml").read_text() == edited
    other = run(*command[:-3], "another", *command[-2:], **env)
    assert (other.returncode, other.stderr.count("\n")) == (2, 2)
    assert "mine.yaml exists already, and does not read the dataset 'another'" in other.stderr
    for path in photos.glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "labels": [], "colonies_number": 0}))
    empty = run(*command[:-3], "empty", "--pipeline", "empty", **env)
    assert "configs/pipeline/empty.yaml is not written" in empty.stderr
    assert not (configs / "pipeline" / "empty.yaml").exists()
    assert "--pipeline='../x' cannot be the name of a file" in run(*command[:-1], "../x", **env).stderr


def test_every_class_of_a_first_pipeline_can_be_learned(run: Run, agar_home: Path, tmp_path: Path) -> None:
    """Species are on few plates each: drawn without regard to classes, both plates of one are in val."""
    configs, photos = copy_configs(tmp_path / "configs"), tmp_path / "photos"
    noise = np.random.default_rng(0)
    for number in range(40):
        rare = [agar_label(40, 40, label=f"rare {number // 2}")] if number < 24 else []
        write_plate(photos, f"{number}", [agar_label(10, 10, label="common"), *rare])
        Image.fromarray(noise.integers(0, 255, (80, 100, 3), np.uint8)).save(photos / f"{number}.jpg")
    env = {"AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "rare"}
    first = run("agar", "import", "agar", "--images-dir", str(photos), "--dataset", "rare", "--pipeline", "rare", **env)
    assert first.returncode == 0, first.stderr
    assert run("agar", "run", "snapshot", "split", **env).returncode == 0
    parts = pd.read_parquet(agar_home / "artifacts/split/latest/split.parquet")
    boxes = pd.read_parquet(agar_home / "artifacts/snapshot/latest/boxes.parquet").merge(parts, on="image_id")
    assert parts["part"].value_counts().to_dict() == {"train": 32, "val": 8}
    learned = set(boxes.loc[boxes["part"] == "train", "label"])
    assert learned == {"common", *(f"rare {number}" for number in range(12))}


def test_a_broken_file_is_listed_the_rest_imported_and_the_exit_code_1(
    shared_data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("own") / "home"
    run = runner({"AGAR_HOME": str(home)})
    for stem in ("1", "2"):
        for suffix in (".jpg", ".json"):
            shutil.copy(shared_data / "colonies" / f"{stem}{suffix}", tmp_path)
    (tmp_path / "2.json").write_text('{"labels": [')
    plain = json.loads((tmp_path / "1.json").read_text())
    plain["labels"][0]["class"] = "blue green"
    plain["labels"][1]["class"] = "Blu"
    (tmp_path / "1.json").write_text(json.dumps(plain))
    done = run("agar", "import", "agar", "--images-dir", str(tmp_path), "--dataset", "colonies")
    assert done.returncode == 1
    assert f"broken: {tmp_path}/2.json is not JSON" in done.stderr
    assert (
        "note: 1 box: label 'Blu', nearest class 'Blue', is not in the class map of configs/pipeline/co" in done.stderr
    )
    assert "colonies: 1 image," in done.stdout
    assert "Blue_green 1" in done.stdout
    stop_keeper(home)


def test_labels_of_a_person_are_kept_named_and_replaced_only_when_asked(
    run: Run, agar_home: Path, tmp_path: Path
) -> None:
    for number in range(13):
        write_plate(tmp_path, str(number), [agar_label(1, 1)])
    command = ("agar", "import", "agar", "--images-dir", str(tmp_path), "--dataset", "kept")
    run(*command)

    def correct(samples: Any) -> None:
        samples.update_many({}, {"$set": {"ground_truth.detections.0.label": "by hand"}})

    def labels() -> set[str]:
        return set(edit_samples(agar_home, "kept", lambda samples: samples.distinct("ground_truth.detections.label")))

    edit_samples(agar_home, "kept", correct)
    for number in range(12):
        write_plate(tmp_path, str(number), [agar_label(2, 2)])
    done = run(*command)
    assert done.returncode == 0
    kept_why = "note: samples keep the labels that they were given after their import, though the annotations changed"
    assert f"{kept_why}: 12 ({tmp_path}/0.jpg, " in done.stderr
    assert " and 2 more)\n" in done.stderr
    assert "`agar import … --overwrite` replaces what was kept" in done.stderr
    kept = json.loads(run(*command, "--json").stdout)["kept"]["corrected"]
    assert sorted(kept) == sorted(str(tmp_path / f"{number}.jpg") for number in range(12))
    assert labels() == {"by hand"}
    assert "a person made or changed, which --overwrite has replaced: 13 (" in run(*command, "--overwrite").stderr
    assert labels() == {"E.coli"}


def test_nothing_to_import_names_the_folder_and_what_was_looked_for(run: Run, tmp_path: Path) -> None:
    done = run("agar", "import", "agar", "--images-dir", str(tmp_path), "--dataset", "x")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} holds 0 images and 0 JSON files, but no image with a JSON file")


def test_one_cause_is_one_line_however_many_files_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    say_problems(
        [
            *(f"/my photos/{i}.txt: row {i} has two possible meanings: the 5 points of a polygon" for i in range(12)),
            "/x/b.xml: object 1 has xmin 5 beyond xmax 3",
            "/x/c.xml: object 2 has xmin 9.5 beyond xmax 3",
            "/x/c.xml: object 2 has no name",
        ]
    )
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("broken: /my photos/0.txt: row 0 has two possible meanings")
    assert first.endswith("polygon (and 11 more like it; --json lists them)")
    assert second == "broken: /x/b.xml: object 1 has xmin 5 beyond xmax 3 (and 1 more like it; --json lists them)"
    assert third == "broken: /x/c.xml: object 2 has no name"


def test_a_folder_in_place_of_a_format_is_answered_with_the_command_to_type(run: Run, tmp_path: Path) -> None:
    done = run("agar", "import", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.endswith(f"for example agar import agar --images-dir {tmp_path} --dataset plates\n")
