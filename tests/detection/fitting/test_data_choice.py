"""What `data: auto` chooses, that it is kept, and that crops show what whole photos show."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import DataConfig, TilesConfig, load_experiment
from agar_pipeline.detection.fitting.data_choice import choose_data, say_choice, sees_whole
from agar_pipeline.detection.fitting.model_fitting import fit_config, fit_spec
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.detection.loading.devices import count_free_memory
from agar_pipeline.detection.loading.photo_memory import PhotoMemory
from agar_pipeline.detection.training.train import train
from agar_pipeline.labels.colony_scale import COLONY_PX
from agar_pipeline.photos.load_and_resize import load_image
from agar_pipeline.plates.generate import generate_plates
from tests.detection.loading.test_dataset import columns_of
from tests.detection.models.test_detector import make_columns

AUTO = DataConfig(input_size="auto", scale="auto", tiles="auto", batch_size="auto")


def chosen(columns: CocoColumns, *overrides: str, experiment: str = "tiny_steps") -> DataConfig:
    return choose_data(load_experiment(experiment, ["data=auto", *overrides]).training_run, columns)


def plates(folder: Path, photo: int, box: float, spread: float = 1.5, count: int = 60) -> CocoColumns:
    sides = box * np.geomspace(1 / spread, spread, count)
    folder.mkdir(exist_ok=True)
    return make_columns(folder, [[1, 1, side, side] for side in sides], (photo, photo * 3 // 4))


def colonies_of(folder: Path) -> CocoColumns:
    """Generated plates, all colonies of one class."""
    plain: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        plain.append(json.loads(path.read_text()) | {"file_name": f"{path.stem}.jpg"})
    boxes = [[each[key] for key in ("x", "y", "width", "height")] for one in plain for each in one["labels"]]
    with Image.open(folder / plain[0]["file_name"]) as photo:
        size_wh = photo.size
    return CocoColumns(
        image_ids=np.arange(len(plain)),
        file_names=np.array([one["file_name"] for one in plain], dtype=object),
        sizes_wh=np.array([size_wh] * len(plain)),
        annotation_ids=np.arange(len(boxes)),
        annotation_image_ids=np.repeat(np.arange(len(plain)), [len(one["labels"]) for one in plain]),
        annotation_category_ids=np.ones(len(boxes), np.int64),
        boxes_xywh=np.array(boxes, dtype=np.float64),
        iscrowd=np.zeros(len(boxes), bool),
        category_ids=np.array([1]),
        class_names=("colony",),
    )


@pytest.mark.parametrize(
    ("photo", "box", "scale", "crop", "batch"),
    [
        pytest.param(4000, 57, 1472, 320, 8, id="phone photos of 12 megapixels"),
        pytest.param(2048, 70, 640, 320, 8, id="AGAR"),
        pytest.param(320, 14, 448, None, 4, id="small photos are shown whole"),
        pytest.param(100, 6, 192, None, 16, id="and enlarged twice at most"),
        pytest.param(640, 100, 128, None, 16, id="blood cells"),
    ],
)
def test_a_typical_colony_has_the_side_at_which_it_is_learnt(
    tmp_path: Path, photo: int, box: float, scale: int, crop: int | None, batch: int
) -> None:
    data = chosen(plates(tmp_path, photo, box), "data.input_size=auto", "data.batch_size=auto")
    assert (data.image_side, data.windows and data.windows.size, data.batch) == (scale, crop, batch)
    if scale not in (128, 192):
        assert box * scale / photo == pytest.approx(COLONY_PX, rel=0.15)


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["data.input_size=1024"], {"input_size": 1024, "tiles": None, "batch_size": 2}),
        (["data.scale=2048"], {"scale": 2048}),
        (["data.tiles=null", "data.input_size=640"], {"input_size": 640, "tiles": None}),
        (["++data.tiles={size: 256}", "data.scale=null"], {"scale": None}),
        (["++data.tiles={size: 256, empty: 0.5}"], {"scale": 1472}),
        (["data.batch_size=3"], {"batch_size": 3, "scale": 1472}),
    ],
)
def test_a_key_given_by_hand_stays_and_the_rest_is_chosen_around_it(
    tmp_path: Path, overrides: list[str], kept: dict[str, object]
) -> None:
    columns = plates(tmp_path, 4000, 57)
    start = ["data.input_size=auto", "data.batch_size=auto"]
    experiment = load_experiment("tiny_steps", ["data=auto", *start, *overrides]).training_run
    settled = fit_config(experiment, columns)
    assert {key: getattr(settled.data, key) for key in kept} == kept
    assert "auto" not in dataclasses.asdict(settled.data).values()
    if "empty" in overrides[0]:
        assert settled.data.windows is not None
        assert (settled.data.windows.size, settled.data.windows.empty) == (256, 0.5)
    assert fit_config(settled, columns) == settled, "what is settled stays, whatever the data become"
    assert fit_config(settled, plates(tmp_path / "other", 2000, 20)) == settled


def test_photos_that_do_not_change_the_statistics_much_do_not_change_the_choice(tmp_path: Path) -> None:
    for number, box in enumerate((53, 54, 55, 56)):
        assert chosen(plates(tmp_path / str(number), 4000, box), "data.input_size=auto").scale == 1472


def test_photos_of_different_sizes_are_scaled_to_one_and_largest_colony_decides_the_overlap(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, [(400, 300), (800, 600)])
    config = load_experiment("tiny_steps", ["data=auto", "++data.tiles={size: 64}", "data.scale=200"]).training_run
    settled = fit_config(config, columns)
    dataset = DetectionDataset(columns, tmp_path, settled.data.image_side, settled.data)
    shapes = {tuple(dataset[index][0].shape) for index in range(len(dataset))}
    assert shapes == {(3, 64, 64)}
    assert len(dataset) == 2 * round(200 * 150 / 64**2), "each photo has as many crops as tiles would cover it"


def test_a_crop_shows_the_pixels_and_boxes_of_the_scaled_photo(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, [(400, 300)])
    plain = {"flip": False, "quarter_turns": False, "brightness": 0.0}
    data = DataConfig(scale=200, tiles=TilesConfig(size=96, overlap=32, empty=0.0), **plain)  # type: ignore[arg-type]
    dataset = DetectionDataset(columns, tmp_path, 200, data, seed=3)
    whole, _ = load_image(tmp_path / str(columns.file_names[0]), 200)
    boxes = {tuple(box) for box in np.round(columns.boxes_xywh[:, 2:] / 2, 3).tolist()}
    seen = 0
    for epoch in range(3):
        dataset.epoch[0] = epoch
        for index in range(len(dataset)):
            image, target = dataset[index]
            pixels = image.numpy().transpose(1, 2, 0)
            places = [
                (y, x)
                for y in range(whole.shape[0] - 95)
                for x in range(whole.shape[1] - 95)
                if (whole[y, x] == pixels[0, 0]).all() and (whole[y : y + 96, x : x + 96] == pixels).all()
            ]
            assert places, "a crop is a window of the photo as it is scaled for prediction"
            sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
            inside = ((target["boxes"] > 0) & (target["boxes"] < 96)).all(dim=1)
            seen += sum(tuple(side) in boxes for side in np.round(sides[inside].numpy().astype(float), 3).tolist())
    assert seen


TILES = TilesConfig(size=96, overlap=32)


@pytest.mark.parametrize(("tiles", "jitter"), [(TILES, 0.0), (TILES, 0.3), (None, 0.0)])
def test_a_photo_in_memory_gives_the_same_item(tmp_path: Path, tiles: TilesConfig | None, jitter: float) -> None:
    columns = columns_of(tmp_path, [(400, 300), (320, 400)])
    data = DataConfig(input_size=200, scale=200, tiles=tiles, scale_jitter=jitter)
    warm, cold = (DetectionDataset(columns, tmp_path, 200, data, seed=1) for _ in range(2))
    cold._memory = None
    for index in [*range(len(warm)), *range(len(warm))]:
        one, other = warm[index], cold[index]
        assert one[0].equal(other[0])
        assert one[1]["boxes"].equal(other[1]["boxes"])
        assert max(one[0].shape[1:]) <= (96 if tiles else 200)
    assert warm.keeps_photos
    (tmp_path / str(columns.file_names[0])).unlink()
    assert warm[0][0].shape, "each photo is decoded once"


def _keep(memory: PhotoMemory, row: int) -> None:
    memory.keep(row, np.full((10, 20, 3), row + 1, np.uint8))


def test_processes_share_the_memory_and_what_does_not_fit_is_not_kept() -> None:
    memory = PhotoMemory(np.full((4, 2), (20, 10)), room_bytes=2 * 600 + 100)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_keep, args=(memory, row)) for row in (0, 1, 1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    kept = {row: pixels for row in range(4) if (pixels := memory.recall(row)) is not None}
    assert len(kept) == 2
    assert not memory.keeps_all
    for row, pixels in kept.items():
        assert pixels.shape == (10, 20, 3)
        assert (pixels == row + 1).all()
        assert not pixels.flags.writeable


def test_a_containers_limit_bounds_what_may_be_kept(tmp_path: Path) -> None:
    for name, text in (("memory.max", "3000000\n"), ("memory.current", "2500000\n"), ("memory.stat", "anon 9\n")):
        (tmp_path / name).write_text(text)
    free = count_free_memory(tmp_path / "none")
    assert free > 10**8
    (tmp_path / "memory.stat").write_text("anon 2000000\ninactive_file 400000\n")
    assert count_free_memory(tmp_path) == 900_000
    (tmp_path / "memory.max").write_text("max\n")
    assert count_free_memory(tmp_path) == pytest.approx(free, rel=0.2)


@pytest.mark.parametrize(("scale", "whole"), [(1024, True), (2048, True), (2464, False)])
def test_plates_are_predicted_in_one_pass_up_to_a_size(tmp_path: Path, scale: int, whole: bool) -> None:
    columns = plates(tmp_path, 4000, 57)
    config = load_experiment("tiny_steps", ["data=auto", "++data.tiles={size: 320}", f"data.scale={scale}"])
    settled = fit_config(config.training_run, columns)
    spec = fit_spec(settled, columns, columns)
    assert sees_whole(settled.data) is whole
    assert (spec.tile_overlap is None, spec.image_side, spec.input_size) == (whole, scale, 320)
    said = say_choice(settled, columns)
    assert f"photos scaled to {scale:,} px: a colony is {57 * scale / 4000:.0f} px" in said
    assert "trained on crops of 320 px" in said
    assert ("in one pass" in said) is whole


def test_one_pass_and_tiles_find_the_same(tmp_path: Path) -> None:
    generate_plates(tmp_path / "photos", 10, size_px=320, seed=2, colonies_per_plate=(10, 30))
    columns = colonies_of(tmp_path / "photos")
    words = ["++data.tiles={size: 128, overlap: 48}", "data.scale=320", "data.batch_size=8", "model.score_floor=0.15"]
    config = load_experiment("tiny_steps", [*words, "trainer.max_steps=120"]).training_run
    outcome = train(config, columns, columns, tmp_path / "photos", tmp_path / "out", lambda text: None)
    assert outcome.spec.tile_overlap is None
    predictor = Predictor.load(tmp_path / "out" / "checkpoints" / "last.ckpt")
    whole = predictor.predict(columns, tmp_path / "photos", num_workers=0)
    predictor.detector.tile_overlap = 48
    tiled = predictor.predict(columns, tmp_path / "photos", num_workers=0)
    for one, other in ((whole, tiled), (tiled, whole)):
        sure = one.take(np.flatnonzero(one.scores >= 0.5))
        assert len(sure) > 50
        found = 0
        for image_id, box in zip(sure.image_ids, sure.boxes_xywh, strict=True):
            near = other.boxes_xywh[other.image_ids == image_id]
            found += bool((np.abs(near - box).max(axis=1, initial=np.inf if not len(near) else 0) < 4).any())
        assert found >= 0.97 * len(sure)
