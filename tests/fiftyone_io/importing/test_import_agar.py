from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from tests.fiftyone_io.conftest import agar_label, collection_of, import_agar, write_plate

Import = Callable[[Path, str], ImportCounts]


@pytest.fixture
def run_import(uri: str, home: Path) -> Import:
    def run(folder: Path, dataset: str) -> ImportCounts:
        return import_agar(folder, dataset, home)

    return run


@pytest.fixture
def name(new_dataset: Callable[[], str]) -> str:
    return new_dataset()


def test_all_plates_are_added_with_their_boxes(plates: Path, name: str, run_import: Import, database: Any) -> None:
    counts = run_import(plates, name)
    assert counts == ImportCounts(added=6, boxes=10, classes={"E.coli": 5, "B.subtilis": 5})
    sample = database[collection_of(database, name)].find_one({"filepath": str(plates / "1.jpg")})
    assert [label["bounding_box"] for label in sample["ground_truth"]["detections"]] == [
        [0.1, 0.125, 0.2, 0.125],
        [0.05, 0.25, 0.2, 0.125],
    ]
    assert (sample["agar_background"], sample["agar_sample_id"]) == ("bright", "7")
    assert sample["metadata"] == {
        "_cls": "ImageMetadata",
        "size_bytes": (plates / "1.jpg").stat().st_size,
        "mime_type": "image/jpeg",
        "width": 100,
        "height": 80,
        "num_channels": 3,
    }


def test_importing_again_changes_nothing(plates: Path, name: str, run_import: Import, database: Any) -> None:
    run_import(plates, name)
    before = list(database[collection_of(database, name)].find())
    counts = run_import(plates, name)
    assert (counts.added, counts.updated, counts.unchanged, counts.boxes) == (0, 0, 6, 10)
    assert list(database[collection_of(database, name)].find()) == before


def test_a_changed_annotation_updates_its_labels(plates: Path, name: str, run_import: Import, database: Any) -> None:
    run_import(plates, name)
    write_plate(plates, "2", [agar_label(0, 0, label="S.aureus")])
    counts = run_import(plates, name)
    assert (counts.added, counts.updated, counts.unchanged, counts.boxes) == (0, 1, 5, 9)
    sample = database[collection_of(database, name)].find_one({"filepath": str(plates / "2.jpg")})
    assert [label["label"] for label in sample["ground_truth"]["detections"]] == ["S.aureus"]


def test_an_edit_made_in_fiftyone_survives_another_import(
    plates: Path, name: str, run_import: Import, database: Any
) -> None:
    run_import(plates, name)
    samples = database[collection_of(database, name)]
    samples.update_one({"filepath": str(plates / "0.jpg")}, {"$set": {"ground_truth.detections.0.label": "corrected"}})
    assert run_import(plates, name).unchanged == 6
    assert samples.count_documents({"ground_truth.detections.label": "corrected"}) == 1


def test_uncountable_plates_are_left_out_and_taken_out(
    plates: Path, name: str, run_import: Import, database: Any
) -> None:
    run_import(plates, name)
    write_plate(plates, "0", [], count=-1)
    write_plate(plates, "tntc", None, count=300)
    counts = run_import(plates, name)
    assert (counts.uncountable, counts.removed, counts.unchanged) == (2, 1, 5)
    assert database[collection_of(database, name)].count_documents({}) == 5


def test_a_folder_that_moved_keeps_its_samples(
    plates: Path, name: str, run_import: Import, database: Any, tmp_path: Path
) -> None:
    run_import(plates, name)
    samples = database[collection_of(database, name)]
    ids = sorted(samples.distinct("_id"))
    plates.rename(tmp_path / "elsewhere")
    assert run_import(tmp_path / "elsewhere", name).updated == 6
    assert sorted(samples.distinct("_id")) == ids


def test_photos_that_are_gone_stay_in_the_dataset_and_are_named(
    plates: Path, name: str, run_import: Import, database: Any
) -> None:
    assert run_import(plates, name).vanished == []
    (plates / "1.jpg").unlink()
    (plates / "1.json").unlink()
    counts = run_import(plates, name)
    assert (counts.unchanged, counts.vanished) == (5, [str(plates / "1.jpg")])
    samples = database[collection_of(database, name)]
    assert samples.count_documents({}) == 6
    annotated = samples.find_one({"filepath": str(plates / "2.jpg")})
    (plates / "2.json").unlink()
    counts = run_import(plates, name)
    assert (counts.unchanged, counts.formerly_annotated) == (4, [str(plates / "2.jpg")])
    assert samples.find_one({"filepath": str(plates / "2.jpg")}) == annotated


def test_the_same_names_from_two_folders_are_two_sets(
    plates: Path, name: str, run_import: Import, database: Any, tmp_path: Path
) -> None:
    run_import(plates, name)
    shutil.copytree(plates, tmp_path / "copy")
    assert run_import(tmp_path / "copy", name).added == 6
    assert run_import(tmp_path / "copy", name).unchanged == 6
    assert run_import(plates, name).unchanged == 6


def test_sample_ids_follow_from_the_names(
    plates: Path, new_dataset: Callable[[], str], run_import: Import, database: Any
) -> None:
    first, second = new_dataset(), new_dataset()
    run_import(plates, first)
    run_import(plates, second)
    ids = [sorted(database[collection_of(database, name)].distinct("_id")) for name in (first, second)]
    assert ids[0] == ids[1]


def test_files_without_their_other_half_are_listed(plates: Path, name: str, run_import: Import) -> None:
    (plates / "deep").mkdir()
    (plates / "deep" / "lonely.png").write_bytes((plates / "0.jpg").read_bytes())
    (plates / "9.json").write_text("{}")
    counts = run_import(plates, name)
    assert (counts.annotations_without_image, counts.images_without_annotation) == (["9.json"], ["deep/lonely.png"])
    assert counts.added == 6


def test_names_may_hold_spaces_newlines_and_letters_of_all_kinds(
    tmp_path: Path, name: str, run_import: Import, database: Any
) -> None:
    names = ["płytka 1", "line\nbreak", "100%", "培養", "x" * 200]
    for each in names:
        write_plate(tmp_path, each, [agar_label(1, 1)])
    assert run_import(tmp_path, name).added == 5
    paths = database[collection_of(database, name)].distinct("filepath")
    assert sorted(paths) == sorted(str(tmp_path / f"{each}.jpg") for each in names)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        pytest.param("{", "3.json is not JSON", id="no JSON"),
        pytest.param("[]", "3.json holds a list, but must hold an object", id="no object"),
        pytest.param({"labels": {}}, "3.json: labels is '{}'", id="labels are no list"),
        pytest.param({}, "3.json: colonies_number is missing", id="neither labels nor a number"),
        pytest.param({"labels": [3]}, r"3.json: labels\[0\] is '3'", id="a label is a number"),
        pytest.param(
            {"labels": [{**agar_label(0, 0), "class": 5}]}, r"labels\[0\].class is '5'", id="the class is a number"
        ),
        pytest.param(
            {"labels": [{**agar_label(0, 0), "width": "9"}]}, r"labels\[0\].width is '9'", id="a side is a text"
        ),
        pytest.param({"labels": [{"class": "a", "x": 1}]}, r"labels\[0\].y is missing", id="a side is missing"),
    ],
)
def test_a_broken_annotation_is_named_by_file_and_key_and_the_rest_imported(
    annotation: Any, message: str, plates: Path, name: str, run_import: Import, database: Any
) -> None:
    text = annotation if isinstance(annotation, str) else json.dumps(annotation)
    (plates / "3.json").write_text(text)
    counts = run_import(plates, name)
    (problem,) = counts.problems
    assert re.search(message, problem)
    assert (counts.added, database[collection_of(database, name)].count_documents({})) == (5, 5)


def test_a_file_that_breaks_later_leaves_its_sample_as_it_was(
    plates: Path, name: str, run_import: Import, database: Any
) -> None:
    run_import(plates, name)
    (plates / "3.json").write_text("{")
    assert len(run_import(plates, name).problems) == 1
    sample = database[collection_of(database, name)].find_one({"filepath": str(plates / "3.jpg")})
    assert len(sample["ground_truth"]["detections"]) == 2


def test_an_image_that_is_none_is_named(plates: Path, name: str, run_import: Import) -> None:
    (plates / "3.jpg").write_text("no image")
    counts = run_import(plates, name)
    assert "3.jpg is damaged or in no known format, and cannot be read as an image" in counts.problems[0]
    assert counts.added == 5


def test_nothing_outside_of_the_folder_is_read(plates: Path, name: str, run_import: Import, tmp_path: Path) -> None:
    write_plate(tmp_path, "outside", [agar_label(1, 1)])
    (plates / "linked.jpg").symlink_to(tmp_path / "outside.jpg")
    shutil.copy(tmp_path / "outside.json", plates / "linked.json")
    os.mkfifo(plates / "pipe.png")
    write_plate(tmp_path / "more", "7", [agar_label(1, 1)])
    (plates / "more").symlink_to(tmp_path / "more")
    (plates / "itself").symlink_to(plates)
    counts = run_import(plates, name)
    assert [problem.split(" is ", 1)[1].split(":")[0].split(",")[0] for problem in counts.problems] == [
        f"a link out of {plates}",
        f"a link out of {plates}",
        "not a regular file",
    ], "a linked folder is named once, not passed over in silence"
    assert counts.added == 6


def test_plates_with_fewer_labels_than_colonies_are_imported_and_named(
    plates: Path, name: str, run_import: Import
) -> None:
    write_plate(plates, "half", [agar_label(1, 1)], count=40)
    counts = run_import(plates, name)
    assert (counts.added, counts.miscounted) == (7, ["half.jpg"])


def test_two_images_that_share_an_annotation_are_named(plates: Path, name: str, run_import: Import) -> None:
    shutil.copy(plates / "3.jpg", plates / "3.png")
    counts = run_import(plates, name)
    assert counts.added == 5
    assert "may belong to 3.jpg and 3.png" in counts.problems[0]


def test_training_lists_become_tags(plates: Path, name: str, run_import: Import, database: Any) -> None:
    lists = plates / "training_lists"
    lists.mkdir()
    write_plate(plates, "dense", [], count=-1)
    (plates / "deep").mkdir()
    write_plate(plates / "deep", "0", [agar_label(1, 1)])
    (lists / "lower_train.txt").write_text("1, 2\n3\n\n2\ndense\n99\n")
    (lists / "lower_val.json").write_text('[4, "5.jpg", "deep/0.jpg"]')
    (lists / "notes.json").write_text('{"a": 1}')
    samples = database[collection_of(database, name)]
    run_import(plates, name)
    samples.update_one({"filepath": str(plates / "1.jpg")}, {"$push": {"tags": "mine"}})
    counts = run_import(plates, name)
    assert (counts.updated, counts.unchanged) == (0, 7), "lists and tags of others are as they were"
    train, val = counts.lists
    assert (train["tag"], train["entries"], train["tagged"]) == ("lower_train", 5, 3)
    assert (train["left_out"], train["unknown"], val["tagged"]) == (["dense"], ["99"], 3)
    assert "notes.json is not a JSON array" in counts.problems[0]
    (lists / "lower_train.txt").write_text("0\n1\n")
    counts = run_import(plates, name)
    assert counts.updated == 3
    tags = {Path(row["filepath"]).relative_to(plates).as_posix(): row["tags"] for row in samples.find()}
    assert tags == {
        "0.jpg": ["lower_train"],
        "1.jpg": ["lower_train", "mine"],
        "2.jpg": [],
        "3.jpg": [],
        "4.jpg": ["lower_val"],
        "5.jpg": ["lower_val"],
        "deep/0.jpg": ["lower_val"],
    }


def test_a_folder_without_pairs_says_what_it_holds(tmp_path: Path, name: str, run_import: Import) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DatasetError, match="0 images and 1 JSON file, "):
        run_import(tmp_path, name)
    with pytest.raises(DatasetError, match="is not a folder"):
        run_import(tmp_path / "nowhere", name)
