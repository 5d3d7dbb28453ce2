"""A dish is found where there is one, not on a crop of agar, and what lies outside it does not count."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.counting.dish import Circle, find_dish
from agar_pipeline.counting.region import Region, area_of, choose_region, fixed_region
from agar_pipeline.photos.load_and_resize import load_image
from agar_pipeline.plates.generate import render_plate
from agar_pipeline.scoring.counted_area import inside

DISH = Circle(0.5, 0.5, 0.4)


def drawn(size_wh: tuple[int, int], circle_px: tuple[float, float, float] | None, seed: int = 0) -> np.ndarray:
    """A noisy photo with colonies all over it, and perhaps a dish."""
    rng = np.random.default_rng(seed)
    photo = Image.new("RGB", size_wh, (70, 70, 75))
    pen = ImageDraw.Draw(photo)
    if circle_px is not None:
        x, y, radius = circle_px
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(150, 60, 60), outline=(190, 180, 180))
    for x, y in rng.uniform(0, size_wh, (60, 2)):
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=(230, 220, 190))
    return np.clip(np.asarray(photo) + rng.normal(0, 12, (*size_wh[::-1], 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size_wh", "circle_px"),
    [
        pytest.param((640, 480), (330.0, 240.0, 200.0), id="in the middle"),
        pytest.param((480, 640), (250.0, 300.0, 260.0), id="larger than the photo is wide"),
        pytest.param((900, 900), (400.0, 480.0, 300.0), id="a small one"),
    ],
)
def test_a_drawn_dish_is_found_to_two_percent(size_wh: tuple[int, int], circle_px: tuple[float, float, float]) -> None:
    found = find_dish(drawn(size_wh, circle_px))
    assert found is not None
    assert found.in_pixels(size_wh[0]) == pytest.approx(circle_px, abs=0.02 * size_wh[0])


def test_no_dish_is_found_without_a_rim() -> None:
    assert [find_dish(drawn((640, 480), None, seed)) for seed in range(3)] == [None] * 3
    assert find_dish(np.full((300, 300, 3), 90, np.uint8)) is None
    assert find_dish(np.zeros((5, 400, 3), np.uint8)) is None


def test_generated_plates_have_a_dish_with_all_colonies_inside() -> None:
    for number in range(1, 7):
        jpeg, annotation = render_plate(number, 320)
        circle = find_dish(np.array(Image.open(io.BytesIO(jpeg))))
        assert circle is not None
        assert inside(_boxes(annotation), circle.in_pixels(320)).all()


def test_real_plates_have_a_dish_with_all_colonies_inside_and_crops_have_none(shared_data: Path) -> None:
    for path in sorted((shared_data / "plates").glob("*.jpg"))[::12]:
        pixels, scale = load_image(path, 160)
        circle = find_dish(pixels)
        assert circle is not None
        assert inside(_boxes(path.with_suffix(".json").read_bytes()), circle.in_pixels(pixels.shape[1] / scale)).all()
    crops = sorted((shared_data / "colonies").glob("*.jpg"))[::114]
    assert not any(find_dish(load_image(path, None)[0]) for path in crops)


def _boxes(annotation: bytes) -> np.ndarray:
    labels = json.loads(annotation)["labels"]
    return np.array([[one[key] for key in ("x", "y", "width", "height")] for one in labels]).reshape(-1, 4)


def columns_with(boxes_per_photo: list[list[list[float]]], side_px: int = 100) -> CocoColumns:
    count = len(boxes_per_photo)
    ids = np.repeat(np.arange(count) + 10, [len(boxes) for boxes in boxes_per_photo])
    boxes = np.array([box for boxes in boxes_per_photo for box in boxes], np.float64).reshape(-1, 4)
    return CocoColumns(
        image_ids=np.arange(count) + 10,
        file_names=np.array([f"{i}.jpg" for i in range(count)]),
        sizes_wh=np.full((count, 2), side_px),
        annotation_ids=np.arange(len(ids)),
        annotation_image_ids=ids,
        annotation_category_ids=np.ones(len(ids), np.int64),
        boxes_xywh=boxes,
        iscrowd=np.zeros(len(ids), bool),
        category_ids=np.array([1]),
        class_names=("colony",),
    )


def test_the_dish_is_chosen_only_where_val_shows_that_it_serves() -> None:
    middle, corner = [45.0, 45.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]
    on_20 = columns_with([[middle] * 10] * 20)
    assert choose_region([DISH] * 20, on_20).use == "dish"
    missing = choose_region([DISH] * 18 + [None] * 2, on_20)
    assert (missing.use, missing.reason) == ("photo", "no dish is found on 2 of 20 photos of val")
    outside = choose_region([DISH] * 20, columns_with([[middle] * 9 + [corner]] + [[middle] * 10] * 18 + [[corner]]))
    assert outside.use == "photo"
    assert outside.reason == "2 of 191 annotated colonies of val lie outside the dishes that are found"
    assert choose_region([], columns_with([])).use == "photo"


def test_boxes_are_inside_the_circle_of_their_own_photo() -> None:
    columns = columns_with([[], [], []])
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [45, 45, 10, 10], [0, 0, 10, 10]])
    circles = [DISH, None, Circle(0.05, 0.05, 0.02)]
    area = area_of(circles, columns)
    assert area.holds(np.array([10, 11, 12, 12]), boxes).tolist() == [False, True, False, True]


def test_a_region_comes_back_from_json_as_it_was() -> None:
    stated = fixed_region((0.5, 0.45, 0.4))
    assert stated is not None
    assert stated.circle_on(np.zeros((9, 9, 3), np.uint8)) == Circle(0.5, 0.45, 0.4)
    for region in (stated, fixed_region("photo"), fixed_region("dish"), Region()):
        assert region is not None
        assert Region.from_plain(json.loads(json.dumps(region.to_plain()))) == region
    assert fixed_region("auto") is None
