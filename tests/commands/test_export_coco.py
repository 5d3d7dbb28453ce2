"""`agar export-coco` on a dataset that `agar import` made, tags from training lists included."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools.coco import COCO

from agar_pipeline.commands import agar
from agar_pipeline.commands.export_words import snapshot_config
from agar_pipeline.errors import PipelineError
from agar_pipeline.splitting.random_draw import draw_hash
from agar_pipeline.store import Key, Store
from tests.conftest import copy_configs, edit_samples, runner
from tests.fiftyone_io.conftest import agar_label, stop_keeper, write_plate

Export = Callable[..., Result]
LABELS = ["S. aureus", "E.coli", "S. aureus"]


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose database holds `plates`: ten plates with a box each, six tagged train, three val."""
    folder = tmp_path_factory.mktemp("plates")
    home = tmp_path_factory.mktemp("home")
    for number in range(10):
        write_plate(folder, str(number), [agar_label(10, 10, label=LABELS[number % 3])], color=20 * number)
    (folder / "training_lists").mkdir()
    (folder / "training_lists" / "train.txt").write_text("\n".join(map(str, range(6))))
    (folder / "training_lists" / "val.txt").write_text("6,7,8")
    arguments = ["import", "agar", "--images-dir", str(folder), "--dataset", "plates"]
    done = CliRunner().invoke(agar, arguments, env={"AGAR_HOME": str(home)}, catch_exceptions=False)
    assert "10 added" in done.output
    assert "tag train: 6 of 6 listed images" in done.output
    edit_samples(home, "plates", set_background)
    yield home
    stop_keeper(home)


def set_background(samples: Any) -> None:
    """Seven plates `light`, three `dark`."""
    for number, sample in enumerate(samples.find({}).sort("filepath")):
        samples.update_one({"_id": sample["_id"]}, {"$set": {"agar_background": "light" if number < 7 else "dark"}})


@pytest.fixture
def export(made_home: Path, tmp_path: Path) -> Export:
    def run(*arguments: str, dataset: str = "plates") -> Result:
        command = ["export-coco", "--dataset", dataset, "--out-dir", str(tmp_path / "out"), *arguments]
        return CliRunner().invoke(agar, command, env={"AGAR_HOME": str(made_home)})

    return run


def load(path: Path) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path)).dataset


def read(out_dir: Path) -> dict[str, list[str]]:
    """Part → names of its images."""
    paths = sorted((out_dir / "coco").glob("*.json"))
    return {path.stem: sorted(image["file_name"] for image in load(path)["images"]) for path in paths}


def test_parts_come_from_views_and_classes_from_all_parts_together(
    export: Export, made_home: Path, tmp_path: Path
) -> None:
    current = Store(made_home).latest(Key("snapshot"))
    done = export("--train-view", "tag:train", "--val-view", "tag:val")
    assert done.exit_code == 0, done.exception
    out = tmp_path / "out"
    assert read(out) == {"train": [f"{i}.jpg" for i in range(6)], "val": [f"{i}.jpg" for i in range(6, 9)]}
    categories = [{"id": 1, "name": "E.coli"}, {"id": 2, "name": "S. aureus"}]
    assert (
        load(out / "coco" / "train.json")["categories"] == load(out / "coco" / "val.json")["categories"] == categories
    )
    assert "left out of all parts" in done.output, "plate 9 is in no view, and that is said"
    described = json.loads((out / "dataset.json").read_text())
    assert all((Path(described["images_dir"]) / name).is_file() for names in read(out).values() for name in names)
    assert (out / described["images_dir_from_here"] / "1.jpg").is_file()
    assert Store(made_home).latest(Key("snapshot")) == current, "what the pipeline made stays current"


def test_a_hash_split_keeps_groups_and_a_field_must_name_parts(export: Export, tmp_path: Path) -> None:
    done = export("--split-method", "hash", "--group-by", "field:agar_sample_id", "--fractions", "0.5", "0.5")
    assert "gets none of" in str(done.exception), "all plates are of one sample_id: one group cannot fill two parts"
    assert "change --fractions" in str(done.exception)
    done = export("--split-field", "agar_background")
    assert "part 'train' is empty" in str(done.exception)
    assert "correct the options" in str(done.exception)
    done = export("--split-field", "agar_background", "--field-values", "light=train", "dark=val", "--json")
    assert {part: of["images"] for part, of in json.loads(done.stdout)["counts"].items()} == {"train": 7, "val": 3}
    assert export("--split-method", "hash", "--fractions", "0.5", "0.5").exit_code == 0
    assert sum(len(names) for names in read(tmp_path / "out").values()) == 10


def test_photos_come_along_at_the_asked_size_and_go_with_the_next_export(export: Export, tmp_path: Path) -> None:
    done = export("--media", "resize", "--max-side", "40", "--json")
    assert done.exit_code == 0, done.exception
    out = tmp_path / "out"
    assert json.loads(done.stdout)["images_dir"] == str(out / "images")
    assert json.loads((out / "dataset.json").read_text())["images_dir"] == "images"
    for part in ("train", "val"):
        for image in load(out / "coco" / f"{part}.json")["images"]:
            with Image.open(out / "images" / image["file_name"]) as photo:
                assert photo.size == (image["width"], image["height"])
                assert max(photo.size) == 40
    assert export().exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [".agar-made.json", "coco", "dataset.json"]


DATA = ("snapshot", "split", "coco_cache")
HASH = "{method: hash, stratify_by: class, group_by: field:agar_background, fractions: {train: 0.5, val: 0.5}, seed: "


def test_the_plan_names_another_split_method_and_the_run_follows_it(made_home: Path, tmp_path: Path) -> None:
    """By views, lists and a field the same steps are shown at work in the other tests."""
    configs = copy_configs(tmp_path / "configs")
    small = configs / "pipeline" / "small.yaml"
    text = small.read_text().replace("{dataset: small}", "{dataset: plates}")
    before = next(line for line in text.splitlines() if line.startswith("split: "))
    run = runner({"AGAR_HOME": str(made_home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"})
    small.write_text(text.replace("experiments: [small, other]", "experiments: []"))
    done = run("agar", "run")
    assert done.returncode == 0, f"a pipeline without experiments ends with its data: {done.stderr}"
    small.write_text(text)
    seed = next(seed for seed in range(9) if apart(seed))
    small.write_text(text.replace(before, f"split: {HASH}{seed}}}"))
    assert "split.method random → hash" in run("agar", "plan").stdout
    done = run("agar", "run", *DATA)
    assert done.returncode == 0, done.stderr
    parts = read(Store(made_home).latest(Key("coco_cache")) or tmp_path)
    assert sorted(parts.values()) == [[f"{i}.jpg" for i in range(7)], [f"{i}.jpg" for i in range(7, 10)]]


def apart(seed: int) -> bool:
    """Whether both backgrounds are not hashed into one part."""
    drawn = draw_hash(np.array(["dark", "light"]), {"train": 0.5, "val": 0.5}, seed)
    return len(set(drawn)) == 2


def test_drawn_parts_follow_fractions_and_seed_and_replace_an_earlier_export(export: Export, tmp_path: Path) -> None:
    assert export("--fractions", "0.6", "0.2", "0.2", "--seed", "1").exit_code == 0
    first = read(tmp_path / "out")
    assert {part: len(names) for part, names in first.items()} == {"train": 6, "val": 2, "test": 2}
    assert export("--seed", "2", "--fractions", "0.6", "0.4").exit_code == 0
    again = read(tmp_path / "out")
    assert again.keys() == {"train", "val"}, "no part of the earlier export is left"
    assert again["train"] != first["train"]
    assert sorted([*again["train"], *again["val"]]) == [f"{i}.jpg" for i in range(10)]


def test_parts_come_from_lists_and_only_the_asked_classes_are_kept(export: Export, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0.jpg\n1.jpg\n")
    (tmp_path / "b.txt").write_text("2.jpg\n")
    lists = ["--train-list", str(tmp_path / "a.txt"), "--val-list", str(tmp_path / "b.txt")]
    done = export(*lists, "--classes", "S.aureus", "C.albicans", "--json")
    assert done.exit_code == 0, done.exception
    plain = json.loads(done.stdout)
    assert plain["counts"] == {"train": {"images": 2, "annotations": 1}, "val": {"images": 1, "annotations": 1}}
    assert (plain["classes"], plain["left_out"]) == (["S.aureus", "C.albicans"], {"E.coli": 3})
    assert "3 boxes are left out: label 'E.coli'" in done.stderr
    assert "no box of the class 'C.albicans'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train-view", "tag:train", "--val-view", "tag:nope"], ["'tag:nope'", "train (6)", "ground_truth"]),
        (
            ["--view", "tag:nope"],
            ["holds 0 samples\ncorrect --view; ", "tags: train (6), val (3)", "label fields: ground_truth"],
        ),
        (["--label-field", "metadata"], ["is of type ImageMetadata", "ground_truth (Detections)"]),
        (["--fractions", "0.6", "0.2"], ["must sum to 1, not to 0.8", "\ngive --fractions 0.8 0.2"]),
        (["--media", "resize"], ["--media=resize needs the longest side", "\ngive --max-side 1024"]),
        (["--split-field", "agar_background", "--field-values", "light"], ["write VALUE=PART"]),
        (
            ["--train-view", "tag:train", "--val-view", "tag:val", "--seed", "3"],
            ["--seed cannot be used with the split method tags"],
        ),
    ],
)
def test_what_cannot_be_exported_says_what_there_is(arguments: list[str], words: list[str], export: Export) -> None:
    done = export(*arguments)
    assert isinstance(done.exception, PipelineError)
    assert all(word in str(done.exception) for word in words), done.exception
    assert len(str(done.exception).splitlines()) <= 3


def test_what_boxes_were_drawn_on_follows_the_pipeline_file_unless_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = copy_configs(tmp_path / "configs")
    (configs / "pipeline" / "turned.yaml").write_text("snapshot: {dataset: turned, exif: stored}\nclass_map: {a: 1}\n")
    monkeypatch.setenv("AGAR_CONFIGS", str(configs))
    unsaid = dict.fromkeys(("database", "label_field", "view", "exif"))
    assert snapshot_config({**unsaid, "dataset": "turned"}).exif == "stored"
    assert snapshot_config({**unsaid, "dataset": "turned", "exif": "refuse"}).exif == "refuse"
    assert snapshot_config({**unsaid, "dataset": "other"}).exif == "displayed"


def test_a_folder_with_other_files_is_left_alone(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "holds other files" in str(export().exception)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_signs_are_no_spelling_and_unlabelled_plates_are_no_empty_ones(
    export: Export, made_home: Path, tmp_path: Path
) -> None:
    before: list[Any] = []

    def relabel(samples: Any) -> None:
        for number, sample in enumerate(samples.find({}).sort("filepath")):
            before.append((sample["_id"], sample["ground_truth"]))
            label = ["lac", "lac+", "lac-", "\u3000"][number % 4]
            change = {"ground_truth": None} if number == 9 else {"ground_truth.detections.0.label": label}
            samples.update_one({"_id": sample["_id"]}, {"$set": change})

    def restore(samples: Any) -> None:
        for sample_id, labels in before:
            samples.update_one({"_id": sample_id}, {"$set": {"ground_truth": labels}})

    edit_samples(made_home, "plates", relabel)
    try:
        done = export("--classes", "lac", "lac+", "lac-", "--fractions", "0.6", "0.4")
        refused = export("--unlabelled", "fail")
    finally:
        edit_samples(made_home, "plates", restore)
    assert done.exit_code == 0, done.exception
    parts = [load(tmp_path / "out" / "coco" / f"{part}.json") for part in ("train", "val")]
    assert [each["name"] for each in parts[0]["categories"]] == ["lac", "lac+", "lac-"]
    assert sum(len(part["images"]) for part in parts) == 9
    counted = [each["category_id"] for part in parts for each in part["annotations"]]
    assert sorted(counted) == [1, 1, 1, 2, 2, 3, 3]
    assert "left out of all parts: 1 (not labelled yet)" in done.stderr
    assert "label '\\u3000', which is an empty or invisible name" in done.stderr
    assert "dataset 'plates' holds images that nobody has labelled yet: 1 of 10" in str(refused.exception)
