"""Photos that `agar predict` counted, corrected by a person in FiftyOne, counted again, exported and imported."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from click.testing import CliRunner

from agar_pipeline.coco.detections import Detections
from agar_pipeline.commands import agar
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.counting.intervals import Band, CountIntervals
from agar_pipeline.detection.inference.photo_folder import PhotoCount, PhotoModel, to_coco
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.importing import import_images
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.use_cases import viewing_counted
from agar_pipeline.use_cases.counted_folder import ANNOTATED
from tests.fiftyone_io.conftest import collection_of, write_plate
from tests.fiftyone_io.importing.person import Person

FIELD = "agar_counted"
CLASSES = ("E.coli", "S.aureus")


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """What `agar predict --out-dir` leaves of four photos with three colonies each."""
    count_again(tmp_path, [0.9, 0.8, 0.7])
    return tmp_path / "counted today"


def count_again(folder: Path, scores: list[float], classes: tuple[str, ...] | None = None) -> None:
    found = []
    for number in range(4):
        write_plate(folder / "photos", str(number), None)
        boxes_xywh = np.array([[7.0 + 30 * place, 11 + number, 13, 9.5] for place in range(len(scores))])
        ids = np.array([1, 1, 2][: len(scores)])
        detections = Detections(np.zeros(len(scores), np.int64), ids, boxes_xywh, np.array(scores))
        found.append(PhotoCount(folder / "photos" / f"{number}.jpg", (100, 80), detections, len(detections)))
    model = cast(PhotoModel, SimpleNamespace(class_names=CLASSES, category_ids=np.array([1, 2])))
    (folder / "counted today").mkdir(exist_ok=True)
    plain = to_coco(
        model,
        found,
        folder / "photos",
        Calibration(CountRule(classes=classes), intervals=CountIntervals(0.9, (Band(0, 0.6, 40),))),
    )
    plain["images"][3]["counted_circle"] = {"x": 20.0, "y": 20.0, "radius": 20.0}  # one of three boxes lies inside
    (folder / "counted today" / "predictions.json").write_text(json.dumps(plain))


@pytest.fixture
def run(person: Person, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`agar …` in this process; the person's FiftyOne answers what a child would, without its seconds of import."""

    def answer(_: str, request: dict[str, Any], log: Any) -> dict[str, Any]:
        return person.answers_as_child(request)

    monkeypatch.setattr(viewing_counted, "run_child", answer)
    monkeypatch.setattr(import_images, "run_child", answer)

    def call(*words: object, refused: bool = False) -> str:
        result = CliRunner().invoke(agar, [str(word) for word in words], catch_exceptions=True)
        if refused:
            assert isinstance(result.exception, PipelineError), result.output
            return str(result.exception)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    return call


def dump(database: Any, dataset: str) -> str:
    raw: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
    collections = [database.get_collection(name, codec_options=raw) for name in ("datasets", "views")]
    collections.append(database.get_collection(collection_of(database, dataset), codec_options=raw))
    return hashlib.sha256(b"".join(found.raw for one in collections for found in one.find())).hexdigest()


def boxes_of(database: Any, dataset: str, field: str) -> dict[str, list[tuple[str, list[float]]]]:
    samples = database[collection_of(database, dataset)].find({field: {"$exists": True}})
    return {
        Path(sample["filepath"]).name: sorted(
            (one["label"], np.round(one["bounding_box"], 9).tolist()) for one in sample[field]["detections"]
        )
        for sample in samples
    }


CORRECTIONS = {
    "0.jpg": "boxes = sample[field].detections; del boxes[0]\n"
    "boxes.append(fo.Detection(label='S.aureus', bounding_box=[.6, .7, .1, .1]))\n"
    "boxes.append(fo.Detection(label='s aureus', bounding_box=[.8, .7, .1, .1]))\n"
    "boxes.append(fo.Detection(label='S.aureus', bounding_box=[.2, .7, .0, .1]))",
    "1.jpg": "boxes = sample[field].detections; boxes[2].label = 'E.coli'\n"
    "boxes[0].bounding_box = [boxes[0].bounding_box[0] + .01, *boxes[0].bounding_box[1:]]",
    "2.jpg": "sample[field].detections[0].tags.append('doubtful')",
}

CORRECT_THE_LABEL = "sample[field].detections[3].label = 'S.aureus'\nsample.save()"


def correct(person: Person, dataset: str, counted: Path) -> None:
    for name, code in CORRECTIONS.items():
        path = counted.parent / "photos" / name
        person.does(dataset, f"{code}\nsample.save()", path, field=FIELD)


def test_a_persons_corrections_are_counted_marked_exported_and_imported_again(
    run: Callable[..., str], person: Person, database: Any, counted: Path, tmp_path: Path
) -> None:
    dataset = counted.name
    said = run("view", "--counted", counted, "--no-app")
    assert f"{dataset}: 12 boxes on 4 plates, in {FIELD}" in said
    offered = person.does(dataset, "answer = [dataset.active_label_schemas, dataset.label_schemas[field]]", field=FIELD)
    assert (offered[0], offered[1]["classes"]) == ([FIELD], [*CLASSES]), "the App can edit the boxes at once"
    written = dump(database, dataset)
    run("view", "--counted", counted, "--no-app")
    assert dump(database, dataset) == written, "seen twice is written once"
    assert "0 of 4 plates touched; no box was changed; 10 → 10" in run("count", "--corrected", "--counted", counted)

    correct(person, dataset, counted)
    out, export = tmp_path / "out", tmp_path / "corrected.json"
    count = ("count", "--corrected", "--counted", counted, "--out-dir", out, "--export", export)
    assert "0.jpg in dataset 'counted today' has a box of no class (label 's aureus'" in run(*count, refused=True)
    assert not export.exists()
    person.does(dataset, CORRECT_THE_LABEL, counted.parent / "photos" / "0.jpg", field=FIELD)
    by_hand = dump(database, dataset)
    said = run(*count)
    assert "2 of 4 plates touched; boxes: 2 added, 1 removed, 1 relabelled, 1 moved; 10 → 11 colonies" in said
    assert f"edited, but without another box or label; only the boxes of {FIELD} count: 2.jpg" in said
    assert "2 boxes do not count: outside the dish" in said
    assert "no area or no place; delete them in FiftyOne: 0.jpg" in said
    assert dump(database, dataset) == by_hand, "the database is only read"
    with (out / "counts.csv").open(newline="") as file:
        rows = {row.pop("image"): row for row in csv.DictReader(file)}
    assert [row["source"] for row in rows.values()] == ["corrected", "corrected", "predicted", "predicted"]
    assert [(row["predicted"], row["colonies"]) for row in rows.values()] == [
        ("3", "4"),
        ("3", "3"),
        ("3", "3"),
        ("1", "1"),
    ]
    assert [(row["low"], row["high"]) for row in rows.values()] == [("", ""), ("", ""), ("2", "4"), ("1", "1")]
    assert (rows["0.jpg"]["E.coli"], rows["0.jpg"]["S.aureus"]) == ("1", "3")
    assert (rows["1.jpg"]["E.coli"], rows["1.jpg"]["moved"]) == ("3", "1")
    plain = json.loads(run("count", "--corrected", "--counted", dataset, "--json").splitlines()[0])
    assert plain["changes"] == {"added": 2, "removed": 1, "relabelled": 1, "moved": 1}

    sheet = tmp_path / "plates.csv"
    sheet.write_text("photo,sample,dilution,volume_ml\n0.jpg,milk,1e-1,1\n1.jpg,milk,1e-2,1\n2.jpg,milk,1e-3,1\n")
    run("count", "--corrected", "--counted", counted, "--out-dir", out, "--sheet", sheet)
    with (out / "samples.csv").open(newline="", encoding="utf-8-sig") as file:
        (sample,) = csv.DictReader(file)
    assert "0.jpg (10⁻¹, 4" in sample["plates_used"] + sample["plates_left_out"], (
        "the corrected count, without interval"
    )
    page = (out / "samples.html").read_text()
    assert "corrected by a person on 2 of 3 plates" in page
    sheet.write_text(sheet.read_text().replace("1.jpg", "../elsewhere/1.jpg"))
    write_plate(tmp_path / "elsewhere", "1", None)
    said = run("count", "--counted", counted, "--out-dir", out, "--sheet", sheet, refused=True)
    assert "lists 1 photo not among the counted plates (4): 1.jpg" in said

    photos = {path: path.read_bytes() for path in (tmp_path / "photos").glob("*.jpg")}
    run("import", "coco", "--images-dir", tmp_path / "photos", "--annotations", export, "--dataset", "learn from them")
    corrected = boxes_of(database, dataset, FIELD)
    imported = boxes_of(database, "learn from them", "ground_truth")
    assert {name for name, boxes in imported.items() if boxes} == {"0.jpg", "1.jpg"}
    for name in ("0.jpg", "1.jpg"):
        assert imported[name] == [(label, box) for label, box in corrected[name] if box[2] > 0]

    assert "was edited by somebody (predictions on photos: 3 (0.jpg" in run(
        "view", "--counted", counted, "--remove", refused=True
    )
    assert dump(database, dataset) == dump(database, dataset)
    run("view", "--counted", counted, "--remove", "--overwrite")
    assert database.datasets.find_one({"name": dataset}) is None
    assert "is in no dataset" in run("count", "--corrected", "--counted", counted, refused=True)
    assert {path: path.read_bytes() for path in photos} == photos


def test_a_new_count_keeps_what_a_person_corrected_and_is_not_mixed_with_the_old_one(
    run: Callable[..., str], person: Person, database: Any, counted: Path
) -> None:
    run("view", "--counted", counted, "--no-app", "--dataset", "today")
    run("view", "--counted", counted, "--remove")
    assert database.datasets.find_one({"name": "today"}) is None, "what nobody edited is removed without a word"
    run("view", "--counted", counted, "--no-app", "--dataset", "today")
    path = counted.parent / "photos" / "0.jpg"
    person.does("today", "del sample[field].detections[0]\nsample.save()", path, field=FIELD)
    count_again(counted.parent, [0.9, 0.8, 0.7], classes=("E.coli",))
    assert "were written again since they went into dataset 'today'" in run(
        "count", "--corrected", "--counted", counted, refused=True
    )
    said = run("view", "--counted", counted, "--no-app")
    assert "edited were kept on 1 photo: 0.jpg" in said
    said = run("count", "--corrected", "--counted", counted)
    assert "1 of 4 plates touched; boxes: 1 removed; 7 → 6 colonies" in said, "S.aureus does not count"
    person.adds("today", "/mine.jpg")
    assert "samples that were added: 1 (mine.jpg)" in run("view", "--counted", counted, "--remove", refused=True)
    run("view", "--counted", counted, "--remove", "--overwrite")


def test_boxes_that_a_person_confirmed_with_the_tag_stay(
    run: Callable[..., str], person: Person, database: Any, counted: Path
) -> None:
    """They were right as they were proposed, so that nothing but the tag says that a person saw them."""
    run("view", "--counted", counted, "--no-app")
    person.does(counted.name, f"sample.tags.append({ANNOTATED!r})\nsample.save()", counted.parent / "photos" / "0.jpg")
    confirmed = boxes_of(database, counted.name, FIELD)["0.jpg"]
    for _ in range(2):
        count_again(counted.parent, [0.9])
        assert "edited were kept on 1 photo: 0.jpg" in run("view", "--counted", counted, "--no-app")
        boxes = boxes_of(database, counted.name, FIELD)
        assert boxes["0.jpg"] == confirmed
        assert len(boxes["1.jpg"]) == 1
    said = run("count", "--corrected", "--counted", counted)
    assert "1 of 4 plates touched; boxes: 2 added" in said, "than the new predictions"
    run("view", "--counted", counted, "--remove", "--overwrite")


def test_a_dataset_of_somebody_else_is_neither_written_nor_removed(
    run: Callable[..., str], database: Any, counted: Path, new_dataset: Callable[[], str]
) -> None:
    theirs = new_dataset()
    before = dump(database, theirs)
    for words in (("--no-app",), ("--remove", "--overwrite")):
        said = run("view", "--counted", counted, "--dataset", theirs, *words, refused=True)
        assert f"'{theirs}' exists, and `agar view` did not make it" in said
    assert "is neither a folder" in run("count", "--counted", theirs, refused=True)
    renamed = counted.with_name(theirs)
    shutil.move(counted, renamed)
    assert "did not make it" in run("view", "--counted", renamed, "--no-app", refused=True)
    assert dump(database, theirs) == before
