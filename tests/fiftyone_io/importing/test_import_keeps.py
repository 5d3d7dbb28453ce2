"""An import never changes or removes what a person made in FiftyOne: each way in which that was once possible.

Cases 62 and 63 of the acceptance list. The person is a process of its own with FiftyOne; the database is a real one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.import_images import import_at
from agar_pipeline.ownership.imported_labels import EARLIER_FIELD, RECORD_FIELD, ImportRecord, earlier_digest
from tests.fiftyone_io.conftest import agar_label, collection_of, write_plate
from tests.fiftyone_io.importing.person import Person

Import = Callable[..., ImportCounts]


@pytest.fixture
def name(new_dataset: Callable[[], str]) -> str:
    return new_dataset()


@pytest.fixture
def samples(database: Any, name: str) -> Collection:
    return database[collection_of(database, name)]


@pytest.fixture
def run_import(uri: str, home: Path, name: str) -> Import:
    def run(folder: Path, *, overwrite: bool = False, **class_map: int) -> ImportCounts:
        source = ImportSource("agar", str(folder), class_map=class_map)
        return import_at(uri, source, name, home, lambda *_: None, lambda *_: None, overwrite=overwrite)

    return run


def of(samples: Collection, photo: Path) -> dict[str, Any]:
    (row,) = samples.find({"filepath": str(photo)})
    return row


def labels(row: dict[str, Any]) -> list[str]:
    return [box["label"] for box in row["ground_truth"]["detections"]]


def make_unique(folder: Path, text: str) -> None:
    """No two photos are the same bytes, nor those of two folders."""
    for photo in folder.glob("*.jpg"):
        photo.write_bytes(photo.read_bytes() + f"{text} {photo.name}".encode())


def test_a_sample_that_a_person_made_stays_as_it_is_and_is_named(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    person.adds(name, plates / "0.jpg", boxes=50)
    before = of(samples, plates / "0.jpg")
    counts = run_import(plates)
    assert (counts.added, counts.unchanged, counts.kept) == (5, 1, {"not_imported": [str(plates / "0.jpg")]})
    assert of(samples, plates / "0.jpg") == before
    write_plate(plates, "0", [], count=-1)
    assert run_import(plates).kept == {"uncountable": [str(plates / "0.jpg")]}
    assert run_import(plates, overwrite=True).kept == {"uncountable": [str(plates / "0.jpg")]}, "never removed"
    assert of(samples, plates / "0.jpg") == before


def test_overwrite_replaces_the_labels_and_nothing_else(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    person.adds(name, plates / "0.jpg")
    person.does(
        name, "sample['other'] = fo.Detections(detections=[fo.Detection(label='x')]); sample.save()", plates / "0.jpg"
    )
    run_import(plates)
    person.corrects(name, plates / "1.jpg")
    before = [of(samples, plates / f"{number}.jpg") for number in (0, 1)]
    assert labels(before[1]) == ["corrected", "B.subtilis"]
    counts = run_import(plates, overwrite=True)
    assert (counts.updated, counts.unchanged, counts.kept) == (2, 4, {})
    assert counts.overwritten == [str(plates / f"{number}.jpg") for number in (0, 1)]
    after = [of(samples, plates / f"{number}.jpg") for number in (0, 1)]
    assert [labels(row) for row in after] == [["E.coli", "B.subtilis"]] * 2
    for old, new in zip(before, after, strict=True):
        for field in ("_id", "tags", "note", "other", "created_at", "filepath"):
            assert old.get(field) == new.get(field)
    assert run_import(plates).unchanged == 6


def test_uncountable_plates_leave_only_where_nobody_touched_their_sample(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    run_import(plates)
    person.corrects(name, plates / "0.jpg")
    person.does(name, "sample.tags.append('look'); sample.save()", plates / "1.jpg")
    person.does(name, "sample['note'] = 'odd'; sample.save()", plates / "2.jpg")
    person.does(name, "sample.agar_background = 'dark'; sample.save()", plates / "3.jpg")
    for number in range(5):
        write_plate(plates, str(number), [], count=-1)
    counts = run_import(plates)
    touched = [str(plates / f"{number}.jpg") for number in range(4)]
    assert (counts.uncountable, counts.removed, counts.kept) == (5, 1, {"uncountable": touched})
    assert samples.count_documents({}) == 5
    assert run_import(plates, overwrite=True).removed == 1, "the corrected one, as asked; the rest holds other work"
    assert samples.count_documents({}) == 4


def test_corrections_survive_a_photo_saved_again_a_renamed_class_and_a_new_annotation(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    classes = {"E.coli": 1, "B.subtilis": 2}
    run_import(plates, **classes)
    person.corrects(name, plates / "0.jpg")
    corrected = of(samples, plates / "0.jpg")["ground_truth"]
    for number in (0, 1):
        photo = plates / f"{number}.jpg"
        photo.write_bytes(photo.read_bytes() + b"saved again")
    ids = [box["_id"] for box in of(samples, plates / "1.jpg")["ground_truth"]["detections"]]
    counts = run_import(plates, **classes)
    assert (counts.updated, counts.unchanged, counts.kept) == (2, 4, {}), "the annotation says what it said"
    for number in (0, 1):
        row = of(samples, plates / f"{number}.jpg")
        assert row["metadata"]["size_bytes"] == (plates / f"{number}.jpg").stat().st_size
    assert [box["_id"] for box in row["ground_truth"]["detections"]] == ids, "labels that are the same are not written"
    renamed = {"Escherichia": 1, "E.coli": 1, "B.subtilis": 2}
    counts = run_import(plates, **renamed)
    assert (counts.updated, counts.kept) == (4, {"photo_changed": [str(plates / "0.jpg")]})
    assert labels(of(samples, plates / "1.jpg")) == ["Escherichia", "B.subtilis"]
    write_plate(plates, "0", [agar_label(1, 1)], color=30)
    run_import(plates, **renamed)
    assert of(samples, plates / "0.jpg")["ground_truth"] == corrected


def test_the_same_correction_in_the_file_makes_the_labels_follow_it_again(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    run_import(plates)
    person.corrects(name, plates / "1.jpg", "S.aureus")
    write_plate(plates, "1", [agar_label(10, 10, label="S.aureus"), agar_label(5, 20, label="B.subtilis")])
    assert run_import(plates).kept == {}
    write_plate(plates, "1", [agar_label(10, 10, label="S.aureus")])
    assert run_import(plates).updated == 1
    assert labels(of(samples, plates / "1.jpg")) == ["S.aureus"]


def test_a_folder_away_while_another_of_the_same_names_comes_gives_both(
    plates: Path, tmp_path: Path, run_import: Import, samples: Collection
) -> None:
    shutil.copytree(plates, tmp_path / "other")
    make_unique(plates, "first")
    make_unique(tmp_path / "other", "second")
    run_import(plates)
    before = list(samples.find().sort("_id"))
    plates.rename(tmp_path / "unmounted")
    counts = run_import(tmp_path / "other")
    assert (counts.added, counts.updated, len(counts.vanished)) == (6, 0, 6)
    assert samples.count_documents({}) == 12
    assert list(samples.find({"filepath": {"$regex": "/plates/"}}).sort("_id")) == before
    (tmp_path / "unmounted").rename(tmp_path / "again")
    counts = run_import(tmp_path / "again")
    assert (counts.added, counts.moved, samples.count_documents({})) == (0, 6, 12)


def test_labels_follow_their_photo_where_two_folders_are_swapped(
    plates: Path, tmp_path: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    other = shutil.copytree(plates, tmp_path / "other")
    make_unique(plates, "first")
    make_unique(other, "second")
    run_import(plates)
    run_import(other)
    person.corrects(name, plates / "0.jpg")
    corrected = of(samples, plates / "0.jpg")
    plates.rename(tmp_path / "between")
    other.rename(plates)
    (tmp_path / "between").rename(other)
    counts = run_import(plates)
    assert (counts.added, counts.moved, counts.vanished) == (0, 12, [])
    assert of(samples, other / "0.jpg")["ground_truth"] == corrected["ground_truth"]
    assert run_import(other).unchanged == 6


def test_a_sample_whose_place_another_photo_takes_never_shows_that_one(
    plates: Path, tmp_path: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    make_unique(plates, "first")
    run_import(plates)
    person.corrects(name, plates / "0.jpg")
    corrected = of(samples, plates / "0.jpg")
    (plates / "0.jpg").rename(tmp_path / "put away.jpg")
    (plates / "1.jpg").rename(plates / "0.jpg")
    (plates / "1.json").unlink()
    counts = run_import(plates)
    (gone,) = counts.vanished
    assert gone.startswith(f"{plates}/0.jpg.")
    kept = samples.find_one({"_id": corrected["_id"]})
    assert kept is not None
    assert kept["ground_truth"] == corrected["ground_truth"]
    shutil.copy(tmp_path / "put away.jpg", plates / "1.jpg")
    write_plate(tmp_path, "empty", [])
    shutil.copy(tmp_path / "empty.json", plates / "1.json")
    assert run_import(plates).vanished == []
    assert of(samples, plates / "1.jpg")["ground_truth"] == corrected["ground_truth"]


def test_a_sample_that_a_person_gave_another_file_is_not_taken_for_moved(
    plates: Path, tmp_path: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    make_unique(plates, "first")
    run_import(plates)
    better = tmp_path / "more contrast.jpg"
    better.write_bytes(b"another picture")
    person.does(name, "sample.filepath = better; sample.save()", plates / "0.jpg", better=str(better))
    before = of(samples, better)
    counts = run_import(plates)
    assert (counts.added, counts.unchanged, counts.moved) == (1, 5, 0)
    assert of(samples, better) == before


def test_tags_of_a_person_stay_even_where_a_list_has_their_name(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    (plates / "training_lists").mkdir()
    (plates / "training_lists" / "train.txt").write_text("0\n1\n")
    run_import(plates)
    person.does(name, "sample.tags = ['mine', 'train']; sample.save()", plates / "2.jpg")
    person.does(name, "sample.tags.append('mine'); sample.save()", plates / "1.jpg")
    (plates / "training_lists" / "train.txt").write_text("0\n3\n")
    (plates / "training_lists" / "val.txt").write_text("1\n")
    run_import(plates)
    tags = [of(samples, plates / f"{number}.jpg")["tags"] for number in range(4)]
    assert tags == [["train"], ["mine", "val"], ["mine", "train"], ["train"]]


def test_text_fields_and_metadata_that_a_person_edited_stay(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person
) -> None:
    run_import(plates)
    person.does(name, "sample.agar_background = 'dark'; sample.save()", plates / "0.jpg")
    person.does(name, "sample.metadata['microscope'] = 'left'; sample.save()", plates / "0.jpg")
    for number in (0, 1):
        plain = json.loads((plates / f"{number}.json").read_text())
        (plates / f"{number}.json").write_text(json.dumps({**plain, "background": "vague"}))
        (plates / f"{number}.jpg").write_bytes((plates / f"{number}.jpg").read_bytes() + b"again")
    counts = run_import(plates)
    assert (counts.updated, counts.kept) == (2, {"fields": [str(plates / "0.jpg")]})
    first, second = (of(samples, plates / f"{number}.jpg") for number in (0, 1))
    assert (first["agar_background"], second["agar_background"]) == ("dark", "vague")
    assert first["metadata"]["microscope"] == "left"
    assert first["metadata"]["size_bytes"] == (plates / "0.jpg").stat().st_size


@pytest.mark.parametrize("edit", ["FiftyOne", "behind FiftyOne's back"])
def test_what_a_person_saves_between_reading_and_writing_is_not_overwritten(
    edit: str,
    plates: Path,
    name: str,
    run_import: Import,
    samples: Collection,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_import(plates)
    for number in (0, 1, 2):
        write_plate(plates, str(number), [agar_label(1, 1)])
    write_plate(plates, "3", [], count=-1)
    bulk_write = Collection.bulk_write

    def meanwhile(self: Collection, *given: Any, **more: Any) -> Any:
        for number in (0, 3):
            if edit == "FiftyOne":
                person.corrects(name, plates / f"{number}.jpg")
            else:
                first = {"ground_truth.detections.0.label": "corrected"}
                samples.update_one({"filepath": str(plates / f"{number}.jpg")}, {"$set": first})
        return bulk_write(self, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "bulk_write", meanwhile)
        counts = run_import(plates)
    missed = [str(plates / f"{number}.jpg") for number in (0, 3)]
    assert (counts.updated, counts.removed, counts.changed_meanwhile) == (2, 0, missed)
    assert [labels(of(samples, Path(photo)))[0] for photo in missed] == ["corrected", "corrected"]
    counts = run_import(plates)
    assert counts.kept == {"corrected": missed[:1], "uncountable": missed[1:]}, "the next import sees what was done"


def make_earlier(samples: Collection, images: int) -> None:
    """The samples as versions wrote them that kept a digest only."""
    for row in samples.find():
        boxes = row["ground_truth"]["detections"]
        digest = earlier_digest(
            [box["label"] for box in boxes],
            [box["bounding_box"] for box in boxes],
            [{} for _ in boxes],
            {key: value for key, value in row["metadata"].items() if key != "_cls"},
            {key: row[key] for key in ("agar_background", "agar_sample_id")},
        )
        change = {"$set": {EARLIER_FIELD: digest}, "$unset": {RECORD_FIELD: ""}}
        samples.update_one({"_id": row["_id"]}, change)
    assert samples.count_documents({RECORD_FIELD: {"$exists": False}}) == images


def test_samples_of_earlier_versions_follow_where_their_digest_proves_them_untouched(
    plates: Path, name: str, run_import: Import, samples: Collection, person: Person, tmp_path: Path
) -> None:
    run_import(plates)
    make_earlier(samples, 6)
    for number in (0, 1):
        person.corrects(name, plates / f"{number}.jpg")
    for number in (1, 2):
        write_plate(plates, str(number), [agar_label(1, 1)])
    write_plate(plates, "3", [], count=-1)
    counts = run_import(plates)
    assert (counts.updated, counts.unchanged, counts.removed) == (1, 4, 1)
    assert counts.kept == {"corrected": [str(plates / "1.jpg")]}
    assert labels(of(samples, plates / "1.jpg")) == ["corrected", "B.subtilis"]
    record = ImportRecord.read(of(samples, plates / "0.jpg")[RECORD_FIELD])
    assert record is not None, "the file is as it was imported, so what it says is what was written"
    write_plate(plates, "0", [agar_label(3, 3)])
    assert str(plates / "0.jpg") in run_import(plates).kept["corrected"], "and the correction is seen as one"
    plates.rename(tmp_path / "moved")
    assert run_import(tmp_path / "moved").moved == 4, "all but the one of which nothing can be told"


def test_another_format_follows_the_same_rule(
    plates: Path,
    uri: str,
    home: Path,
    name: str,
    run_import: Import,
    samples: Collection,
    person: Person,
    parsers: None,
) -> None:
    run_import(plates)
    person.corrects(name, plates / "0.jpg")
    (plates / "classes.txt").write_text("S.aureus\n")
    for photo in plates.glob("*.jpg"):
        photo.with_suffix(".txt").write_text("0 .5 .5 .1 .1\n")
    counts = import_at(uri, ImportSource("yolo", str(plates)), name, home, lambda *_: None, lambda *_: None)
    assert (counts.updated, counts.kept) == (5, {"corrected": [str(plates / "0.jpg")]})
    assert labels(of(samples, plates / "0.jpg"))[0] == "corrected"
    assert of(samples, plates / "1.jpg")["agar_background"] == "bright", "fields of the other format stay"


PREPARE = """
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.importing.prepare_dataset import prepare_dataset
lines = []
try:
    prepare_dataset(fo, dataset.name, ["agar_background", "import_record"], lines.append)
except DatasetError as error:
    lines.append(str(error))
answer = lines
"""


def test_what_an_import_changes_of_a_persons_own_dataset_is_said(person: Person, database: Any, name: str) -> None:
    person.does(
        name, "fo.Dataset('lab', persistent=False).add_sample(fo.Sample('/photos/1.jpg', agar_background='dim'))"
    )
    before = list(database[collection_of(database, "lab")].find())
    lines = person.does("lab", PREPARE)
    assert "'lab' exists already and gets the fields ground_truth, import_record" in lines[0]
    assert "'lab' becomes persistent; otherwise FiftyOne would delete it" in lines[1]
    assert person.does("lab", PREPARE) == [], "nothing is said where nothing changes"
    assert list(database[collection_of(database, "lab")].find()) == before
    person.does(name, "fo.Dataset('odd').add_sample_field('import_record', fo.IntField)")
    (refused,) = person.does("odd", PREPARE)
    assert "field 'import_record' of dataset 'odd' is of type IntField, but must be of another type" in refused
    assert person.does("odd", "answer = sorted(dataset.get_field_schema())").count("ground_truth") == 0
    person.does(name, "fo.delete_dataset('lab'); fo.delete_dataset('odd')")
