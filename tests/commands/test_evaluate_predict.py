"""`agar evaluate` and `agar predict` from a checkpoint alone: no Dagster, no FiftyOne, no database."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns, read_coco
from agar_pipeline.coco.detections import Detections
from agar_pipeline.coco.writer import write_coco
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.counting.intervals import Band, CountIntervals
from agar_pipeline.errors import AnnotationError, TrainingError
from agar_pipeline.scoring.class_agreement import ClassAgreement, agree_on_classes
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.prediction_file import is_predicted, read_predicted
from tests.conftest import Run, runner

SIZES_WH = ((96, 64), (80, 80), (64, 96))
FIRST = {"file_name": "day 1/ä 100 %.jpg", "width": 96, "height": 64}


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos in two folders with names that people use, a COCO file, and an untrained checkpoint."""
    import torch

    from agar_pipeline.detection.models.checkpoint import CheckpointFacts, save_checkpoint
    from agar_pipeline.detection.models.detector import build_detector
    from tests.detection.models.test_detector import spec_of

    root = tmp_path_factory.mktemp("plates")
    names = ["day 1/ä 100 %.jpg", "day 1/b.png", "day 2/b.png"]
    for name, (width, height) in zip(names, SIZES_WH, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    write_coco(
        root / "val.json",
        CocoColumns(
            image_ids=np.arange(1, 4),
            file_names=np.array(names, dtype=object),
            sizes_wh=np.array(SIZES_WH),
            annotation_ids=np.array([1, 2]),
            annotation_image_ids=np.array([1, 3]),
            annotation_category_ids=np.array([2, 1]),
            boxes_xywh=np.array([[10.0, 10, 20, 20], [5, 40, 30, 30]]),
            iscrowd=np.zeros(2, bool),
            category_ids=np.array([1, 2]),
            class_names=("E. coli", "S. aureus"),  # in another order than the checkpoint has them
        ),
    )
    torch.manual_seed(0)
    spec = spec_of("tiny", num_classes=2, score_floor=0.0, detections_per_image=20)
    facts = CheckpointFacts(spec, ("S. aureus", "E. coli"), (1, 2), "32-true", False, 0, 1, 0.01, {})
    save_checkpoint(root / "best.ckpt", build_detector(spec), facts)
    return root


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runner({"AGAR_HOME": str(tmp_path / "home")})


def test_predict_counts_what_evaluate_counts(plates: Path, run: Run, tmp_path: Path) -> None:
    checkpoint = ("--checkpoint", str(plates / "best.ckpt"))
    scored = run(
        "agar", "evaluate", *checkpoint, "--json", str(plates / "val.json"), "--images-dir", str(plates),
        "--out-dir", str(tmp_path / "scores"),
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["score_threshold"] == {"value": 0.01, "chosen_on": "val", "chosen_by": "count_error"}
    assert (tmp_path / "scores" / "report.html").is_file()
    counted = run("agar", "predict", *checkpoint, str(plates), "--json", "--out-dir", str(tmp_path / "counted"))
    assert counted.returncode == 0, counted.stderr
    coco = json.loads(counted.stdout)
    assert [image["file_name"] for image in coco["images"]] == ["day 1/b.png", "day 1/ä 100 %.jpg", "day 2/b.png"]
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in coco["images"]}
    assert sizes["day 1/ä 100 %.jpg"] == SIZES_WH[0]
    predicted = sum(image["colonies"] for image in coco["images"])
    assert predicted == len(coco["annotations"]) > 60, "more than the checkpoint's cap of 20 on each"
    for name in ("S. aureus", "E. coli"):
        (category_id,) = [each["id"] for each in coco["categories"] if each["name"] == name]
        of_class = sum(each["category_id"] == category_id for each in coco["annotations"])
        assert of_class == pytest.approx(3 * metrics["counting"]["per_class"][name]["me"] + 1), "by the classes' names"
    bias = metrics["counting"]["me"]
    assert predicted == pytest.approx(3 * bias + 2)
    assert (tmp_path / "counted" / "pictures" / "day 1" / "ä 100 %.jpg").is_file()
    assert (tmp_path / "counted" / "pictures" / "day 2" / "b.png.jpg").is_file()
    assert (tmp_path / "counted" / "counts.csv").read_text().count("\n") == 4


def test_only_the_classes_that_count_are_counted(plates: Path, run: Run, tmp_path: Path) -> None:
    """In the metrics of `evaluate` and in the counts of `predict` alike; a threshold of its own holds for one class."""
    rule = CountRule(0.009, "val", "count_error", {"E. coli": 0.0105}, ("S. aureus",))
    Calibration(rule, intervals=CountIntervals(0.9, (Band(0, 1.0, 40),))).write(tmp_path / "counting.json")
    common = ("--checkpoint", str(plates / "best.ckpt"), "--counting", str(tmp_path / "counting.json"))
    scored = run(
        "agar", "evaluate", *common, "--json", str(plates / "val.json"), "--images-dir", str(plates),
        "--out-dir", str(tmp_path / "scores"),
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    counting = json.loads((tmp_path / "scores" / "metrics.json").read_text())["counting"]
    assert (counting["classes"], counting["reported_apart"]) == (["S. aureus"], ["E. coli"])
    assert {name: counting[name] for name in ("mae", "me")} == {
        name: counting["per_class"]["S. aureus"][name] for name in ("mae", "me")
    }
    counted = run("agar", "predict", *common, str(plates), "--json")
    coco = json.loads(counted.stdout)
    scores = {
        each["name"]: [one["score"] for one in coco["annotations"] if one["category_id"] == each["id"]]
        for each in coco["categories"]
    }
    assert sum(image["colonies"] for image in coco["images"]) == len(scores["S. aureus"])
    for image in coco["images"]:
        reach = math.floor(math.sqrt(image["colonies"] + 1))
        assert image["interval"] == [max(0, image["colonies"] - reach), image["colonies"] + reach]
    assert len(scores["S. aureus"]) == pytest.approx(3 * counting["me"] + 1)
    assert 0.009 <= min(scores["S. aureus"]) < 0.0105 <= min(scores["E. coli"])
    (tmp_path / "counting.json").write_text('{"format": 1}')
    damaged = run("agar", "predict", *common, str(plates))
    assert (damaged.returncode, "counting.json cannot be read" in damaged.stderr) == (1, True)
    Calibration(CountRule(classes=("Defect",))).write(tmp_path / "counting.json")
    foreign = run("agar", "predict", *common, str(plates))
    assert (foreign.returncode, "is for a model that knows 'Defect'" in foreign.stderr) == (1, True)


def test_predictions_alone_can_be_evaluated_but_not_tuned_on_test(plates: Path, run: Run, tmp_path: Path) -> None:
    result = {"image_id": 1, "category_id": 2, "bbox": [10, 10, 20, 20], "score": 0.9}
    (tmp_path / "results.json").write_text(json.dumps([result]))
    (tmp_path / "test.json").write_bytes((plates / "val.json").read_bytes())
    wanted = ("agar", "evaluate", "--predictions", str(tmp_path / "results.json"), "--out-dir", str(tmp_path / "out"))
    done = run(*wanted, "--json", str(plates / "val.json"))
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["per_class"]["S. aureus"]["map"] == pytest.approx(1.0)
    assert metrics["score_threshold"]["chosen_on"] == "these images"
    refused = run(*wanted, "--json", str(tmp_path / "test.json"))
    assert refused.returncode == 2
    assert "--score-threshold" in refused.stderr
    for word in ("nan", "inf", "1.5"):
        refused = run(*wanted, "--json", str(tmp_path / "test.json"), "--score-threshold", word)
        assert (refused.returncode, word in refused.stderr) == (2, True)
    assert run(*wanted, "--json", str(tmp_path / "test.json"), "--score-threshold", "0.5").returncode == 0
    (tmp_path / "results.json").write_text(json.dumps([{**result, "image_id": 99}]))
    stray = run(*wanted, "--json", str(plates / "val.json"))
    assert (stray.returncode, "99" in stray.stderr) == (1, True)
    assert run("agar", "evaluate", "--json", str(plates / "val.json"), "--out-dir", str(tmp_path)).returncode == 2


def test_photos_that_cannot_be_read_are_named_and_the_rest_is_done(plates: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.jpg").write_bytes((plates / "day 1" / "ä 100 %.jpg").read_bytes())
    (folder / "cut.jpg").write_bytes((plates / "day 1" / "ä 100 %.jpg").read_bytes()[:900])
    (folder / "empty.png").touch()
    (folder / "scan.jfif").write_bytes((folder / "good.jpg").read_bytes())
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (folder / "good.NEF").write_bytes(b"MM\0*" + bytes(200))
    (folder / "raw.cr2").write_bytes(b"II*\0" + bytes(200))
    Image.new("RGB", (96, 64)).save(folder / "stack.tif", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    for hidden in ("._good.jpg", "__MACOSX/._good.jpg", ".ipynb_checkpoints/good-checkpoint.jpg"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"not a photo")
    (tmp_path / "pillow_heif.py").write_text("raise ImportError('as without the extra `heic`')")
    done = run("agar", "predict", "--checkpoint", str(plates / "best.ckpt"), str(folder), PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    counted = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    assert counted == {"good.jpg", "scan.jfif", "stack.tif"}
    assert "cut.jpg cannot be read as an image" in done.stderr
    assert "empty.png is empty, and cannot be read as an image" in done.stderr
    assert "phone.heic is HEIC, which cannot be read as an image" in done.stderr
    assert "raw.cr2 is a camera's raw file, which cannot be read as an image" in done.stderr
    assert "develop it, and save it as TIFF, PNG or JPEG" in done.stderr
    assert "stack.tif: 2 pages, of which only the first is read" in done.stderr
    assert "stack.tif: nearly black" in done.stderr
    assert "because a photo of the same name is beside them: 1 (" in done.stderr, "a raw file beside its own JPEG"
    assert "note: hidden files or folders are skipped: 3 (" in done.stderr
    assert "4 of 7 photos could not be read; the others are counted" in done.stderr
    out = tmp_path / "out"
    alone = (str(folder / "cut.jpg"), "--out-dir", str(out))
    bad = run("agar", "predict", "--checkpoint", str(plates / "best.ckpt"), *alone)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.endswith("1 of 1 photo could not be read; nothing was counted\n")
    assert not out.exists()
    nothing = run("agar", "predict", "--checkpoint", str(plates / "best.ckpt"), str(tmp_path / "none"))
    assert (nothing.returncode, "does not exist" in nothing.stderr) == (1, True)


def test_a_used_folder_shows_the_photos_of_this_run_and_what_people_put_there(
    plates: Path, run: Run, tmp_path: Path
) -> None:
    """Pictures of an earlier run are removed only as far as nobody changed them."""
    predict = ("agar", "predict", "--checkpoint", str(plates / "best.ckpt"), "--out-dir", str(tmp_path / "counted"))
    assert run(*predict, str(plates)).returncode == 0
    pictures = tmp_path / "counted" / "pictures"
    (pictures / "day 2" / "b.png.jpg").write_bytes(b"painted over")
    (pictures / "day 1" / "notes.txt").write_text("of a person")
    done = run(*predict, str(plates / "day 1" / "b.png"))
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(pictures)) for path in pictures.rglob("*") if path.is_file()}
    assert left == {"b.png.jpg", "day 1/notes.txt", "day 2/b.png.jpg"}
    assert "note: kept pictures/day 2/b.png.jpg: files of an earlier run that were changed since" in done.stderr
    next_step = run("agar", "count", "--counted", str(tmp_path / "counted")).stderr.splitlines()[-1]
    assert next_step.endswith(f"then agar count --corrected --counted {tmp_path / 'counted'}")


def test_a_model_meets_a_file_by_the_names_of_the_classes(plates: Path) -> None:
    columns, path = read_coco(plates / "val.json"), plates / "val.json"
    ids = np.array([1, 2])
    detections = Detections(np.array([1, 3]), ids, columns.boxes_xywh, np.ones(2))

    def meet(names: tuple[str, ...], ids_in_file: list[int]) -> tuple[list[str], ClassAgreement]:
        """Class of each detection in the words of the file, and all that was agreed on."""
        file = dataclasses.replace(columns, category_ids=np.array(ids_in_file), class_names=names)
        agreement = agree_on_classes(Path("m.ckpt"), ("S. aureus", "E. coli"), ids, path, file)
        listed = dict(zip(agreement.columns.category_ids.tolist(), agreement.columns.class_names, strict=True))
        return [listed[i] for i in agreement.renumber(detections).category_ids.tolist()], agreement

    assert meet(("E. coli", "S. aureus"), [1, 2])[0] == ["S. aureus", "E. coli"], "whatever their numbers"
    found, agreement = meet(("s_aureus", "E. coli"), [70, 8])
    assert found == ["s_aureus", "E. coli"]
    assert agreement.notes == (
        "val.json: label 's_aureus' is taken for the class 'S. aureus' of the model, by its spelling",
    )
    found, agreement = meet(("S. aureus", "Martian"), [2, 1])
    assert found == ["S. aureus", "E. coli"], "what it takes for E. coli is not forgotten"
    assert "val.json does not list 'E. coli' of the model" in agreement.notes[0]
    assert agreement.notes[1] == "the model does not know 'Martian': its 1 annotation counts as missed"
    assert meet(("S. aureus", "S.aureus", "E. coli"), [3, 2, 1])[0] == ["S. aureus", "E. coli"], "exactly first"
    with pytest.raises(TrainingError, match=r"m.ckpt knows 'S. aureus', 'E. coli', .* lists 'x', 'y': no class is in"):
        meet(("x", "y"), [1, 2])
    with pytest.raises(TrainingError, match="lists two categories of the same name"):
        meet(("S. aureus", "S. aureus"), [1, 2])


def test_predictions_with_names_are_matched_by_names(plates: Path, tmp_path: Path) -> None:
    columns = read_coco(plates / "val.json")
    plain = {
        "images": [{"id": 9, "file_name": "day 2/b.png", "width": 64, "height": 96}, {**FIRST, "id": 1}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 2, "bbox": [5, 40, 30, 30], "score": 0.9},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.8},
        ],
        "categories": [{"id": 1, "name": "S. aureus"}, {"id": 2, "name": "E. coli"}],
    }
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(plain))
    assert is_predicted(path)
    predicted = read_predicted(path, plates / "val.json", columns)
    assert predicted.detections.image_ids.tolist() == [3, 1]
    assert predicted.detections.category_ids.tolist() == [1, 2]
    assert [note.partition(",")[0] for note in predicted.notes] == ["no prediction of 1 image of val.json"]
    plain["images"][1]["file_name"] = "elsewhere.png"
    path.write_text(json.dumps(plain))
    predicted = read_predicted(path, plates / "val.json", columns)
    assert predicted.detections.image_ids.tolist() == [3]
    assert "not in val.json, and not counted: 1 predicted image" in predicted.notes[0]
    first, other = {**plain["images"][0]}, {**FIRST, "id": 9}
    for image, name, expected in ((other, "ä 100 %.jpg", 1), (first, "photos/day 2/b.png", 3)):
        image = {**image, "file_name": name}
        path.write_text(json.dumps({**plain, "images": [image], "annotations": plain["annotations"][:1]}))
        predicted = read_predicted(path, plates / "val.json", columns)
        assert predicted.detections.image_ids.tolist() == [expected], "one folder more or less"
        assert "1 of 1 predicted image is listed if the folder" in predicted.notes[0]
    for image, words in (
        ({**first, "file_name": "b.png"}, "has no image in common with .*val.json"),  # it may be that of either day
        ({**first, "width": 63}, "'day 2/b.png' has 63×96 pixels, but .*val.json has 64×96"),
    ):
        path.write_text(json.dumps({**plain, "images": [image], "annotations": plain["annotations"][:1]}))
        with pytest.raises(AnnotationError, match=words):
            read_predicted(path, plates / "val.json", columns)
    path.write_text(json.dumps({**plain, "images": [], "annotations": []}))
    with pytest.raises(AnnotationError, match=r"has no image in common with .*val\.json"):
        read_predicted(path, plates / "val.json", columns)
