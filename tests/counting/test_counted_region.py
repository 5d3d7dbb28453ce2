"""What lies outside the dish does not count, in the evaluation and in `agar predict`; odd photos are named."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import CountingConfig
from agar_pipeline.counting.calibration import Calibration, calibrate
from agar_pipeline.counting.photo_study import study_photos
from agar_pipeline.detection.inference.photo_folder import PhotoCount, count_photos
from agar_pipeline.detection.inference.predict import LoadedPhoto
from agar_pipeline.photos.load_and_resize import read_photo
from agar_pipeline.plates.generate import render_plate
from agar_pipeline.reports.scorecard import write_evaluation
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.use_cases.count_files import open_counts, write_counts

SIDE = 256
CORNER = [1.0, 1.0, 12.0, 12.0]
NUMBERS = range(1, 13)


@dataclass(frozen=True)
class Plates:
    """Generated plates, and detections that are the annotations and one box in the corner of each photo."""

    folder: Path
    columns: CocoColumns
    detections: Detections


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Plates:
    folder = tmp_path_factory.mktemp("plates")
    image_ids, boxes = [], []
    for number in NUMBERS:
        jpeg, annotation = render_plate(number, SIDE, colonies_per_plate=(5, 40))
        (folder / f"{number}.jpg").write_bytes(jpeg)
        labels = json.loads(annotation)["labels"]
        boxes += [[float(one[key]) for key in ("x", "y", "width", "height")] for one in labels]
        image_ids += [number] * len(labels)
    count, ids = len(NUMBERS), np.array(image_ids)
    columns = CocoColumns(
        image_ids=np.array(NUMBERS),
        file_names=np.array([f"{number}.jpg" for number in NUMBERS], dtype=object),
        sizes_wh=np.full((count, 2), SIDE),
        annotation_ids=np.arange(1, len(ids) + 1),
        annotation_image_ids=ids,
        annotation_category_ids=np.ones(len(ids), np.int64),
        boxes_xywh=np.array(boxes),
        iscrowd=np.zeros(len(ids), bool),
        category_ids=np.array([1]),
        class_names=("colony",),
    )
    found = np.concatenate([ids, NUMBERS])
    corners = np.tile(CORNER, (count, 1))
    detections = Detections(
        found, np.ones(len(found), np.int64), np.concatenate([boxes, corners]), np.full(len(found), 0.9)
    )
    return Plates(folder, columns, detections)


def calibrated(plates: Plates, **config: Any) -> Calibration:
    counting = CountingConfig(**config)
    study = study_photos(counting, plates.columns, plates.columns, plates.folder)
    return calibrate(counting, plates.columns, plates.detections, study=study)


def test_an_evaluation_counts_inside_the_dish_and_says_so(plates: Plates, tmp_path: Path) -> None:
    def evaluate(calibration: Calibration) -> tuple[dict[str, Any], str]:
        metrics = write_evaluation(
            plates.columns, plates.detections, plates.folder, tmp_path, calibration=calibration, pictures=2,
            title="plates", log=lambda line: None,
        )  # fmt: skip
        return metrics, " ".join((tmp_path / "report.html").read_text().split())

    calibration = calibrated(plates)
    assert calibration.region.use == "dish"
    again = Calibration.from_plain(json.loads(json.dumps(calibration.to_plain())))
    assert again.to_plain() == calibration.to_plain()
    in_dish, page = evaluate(calibration)
    anywhere, plain_page = evaluate(calibrated(plates, region="photo"))
    assert (in_dish["counting"]["mae"], anywhere["counting"]["mae"]) == (0, 1)
    assert in_dish["counting"]["per_class"]["colony"]["mae"] == 0
    assert in_dish["counting"]["outside"] == {"annotations": 0, "detections": len(NUMBERS)}
    assert in_dish["map_50"] == anywhere["map_50"] < 1, "mAP is of the whole photos"
    assert f"a dish is found on {len(NUMBERS)} of {len(NUMBERS)} photos of val" in page
    assert f"Outside lie 0 annotated colonies and {len(NUMBERS)} detections." in page
    assert "The whole photo counts: the pipeline file says so." in plain_page


@dataclass(frozen=True)
class CornerModel:
    """A `PhotoModel` that finds one colony in the middle of each photo, and one in its corner."""

    calibration: Calibration
    class_names: tuple[str, ...] = ("colony",)

    @property
    def category_ids(self) -> np.ndarray:
        return np.array([1])

    def read(self, path: Path) -> LoadedPhoto:
        import torch

        photo = read_photo(path, SIDE)
        return LoadedPhoto(torch.from_numpy(photo.pixels.transpose(2, 0, 1).copy()), photo.size_wh, photo.notes)

    def detect(self, photo: LoadedPhoto, score_threshold: float) -> Detections:
        middle = [photo.size_wh[0] / 2 - 8, photo.size_wh[1] / 2 - 8, 16.0, 16.0]
        ones = np.ones(2, np.int64)
        return Detections(0 * ones, ones, np.array([middle, CORNER]), np.full(2, 0.95))


def test_predict_names_what_does_not_count_and_photos_of_another_kind(plates: Plates, tmp_path: Path) -> None:
    model = CornerModel(calibrated(plates))
    usual, large, flat = plates.folder / "2.jpg", tmp_path / "large.jpg", tmp_path / "flat.png"
    jpeg, _ = render_plate(2, SIDE, colonies_per_plate=(5, 40))
    Image.open(io.BytesIO(jpeg)).resize((4000, 4000)).save(large)
    Image.fromarray(np.random.default_rng(0).integers(90, 130, (SIDE, SIDE, 3), dtype=np.uint8)).save(flat)
    paths = [usual, large, flat]
    counted = [one for one in count_photos(model, paths, model.calibration) if isinstance(one, PhotoCount)]
    assert [one.colonies for one in counted] == [1, 1, 2]
    of_usual, of_large, of_flat = ("; ".join(one.notes) for one in counted)
    outside = "outside the dish: 1 detection does not count"
    assert of_usual.startswith(outside)
    assert "photo of" not in of_usual
    assert of_large.startswith(f"{outside}; unlike the training photos: photo of 4,000 px (training: {SIDE} px)")
    assert of_flat.startswith("no dish was found: the whole photo counts")
    folder = open_counts(tmp_path / "out", paths, [])
    write_counts(model, counted, model.calibration, folder)
    with (tmp_path / "out" / "counts.csv").open() as stream:
        assert [row["notes"] for row in csv.DictReader(stream)] == [of_usual, of_large, of_flat]
    images = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert ["counted_circle" in image for image in images] == [True, True, False]
    circle = images[1]["counted_circle"]
    assert 0.4 * 4000 < circle["radius"] < 0.5 * 4000


def test_a_calibration_without_a_study_counts_everywhere_and_knows_no_training(plates: Plates) -> None:
    model = CornerModel(Calibration(CountRule(0.5)))
    (one,) = count_photos(model, [plates.folder / "2.jpg"], model.calibration)
    assert isinstance(one, PhotoCount)
    assert (one.colonies, one.notes, one.circle) == (2, (), None)
    narrow = dataclasses.replace(model.calibration, countable=(0, 1))
    (crowded,) = count_photos(model, [plates.folder / "2.jpg"], narrow)
    assert isinstance(crowded, PhotoCount)
    assert [note.partition(",")[0] for note in crowded.notes] == ["more than 1 colonies"]
