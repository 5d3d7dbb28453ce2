"""A photo unlike the training photos is named with the reason, and one of the same set is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.counting.likeness import MOST_PHOTOS, TrainingLikeness, fit_likeness, measure_training
from agar_pipeline.counting.photo_features import PhotoFeatures, PixelFeatures, measure_photo, measure_pixels
from agar_pipeline.photos.load_and_resize import load_image


def photos_like(count: int, seed: int) -> list[PhotoFeatures]:
    """Photos of 512 px with colonies of about 18 px."""
    rng = np.random.default_rng(seed)
    return [
        PhotoFeatures(
            512, float(rng.integers(5, 200)), rng.normal(18, 2), PixelFeatures(*rng.normal((115, 30, 40), (8, 4, 5)))
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def likeness() -> TrainingLikeness:
    fitted = fit_likeness(photos_like(100, 0))
    assert fitted is not None
    return fitted


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"side_px": 4000}, "photo of 4,000 px (training: 512 px)", id="a larger photo"),
        pytest.param({"colony_px": 60}, "colonies of 60 px (training: 1", id="larger colonies"),
        pytest.param({"count": 3000}, "colony count 3,000 (training: ", id="more colonies than any"),
        pytest.param({"pixels": PixelFeatures(210, 30, 40)}, "brightness 210 (training: 9", id="a bright photo"),
        pytest.param({"pixels": PixelFeatures(115, 80, 40)}, "contrast 80 (training: ", id="a photo of much contrast"),
    ],
)
def test_a_photo_of_another_kind_is_named_with_what_is_unlike(
    likeness: TrainingLikeness, changed: dict[str, object], words: str
) -> None:
    usual = {"side_px": 512, "count": 40, "colony_px": 18, "pixels": PixelFeatures(115, 30, 40)}
    assert likeness.unlike(PhotoFeatures(**usual)) == ()  # type: ignore[arg-type]
    said = likeness.unlike(PhotoFeatures(**usual | changed))  # type: ignore[arg-type]
    assert any(one.startswith(words) for one in said), said
    assert likeness.score(PhotoFeatures(**usual | changed)) > likeness.threshold  # type: ignore[arg-type]


def test_few_photos_of_the_same_kind_are_named(likeness: TrainingLikeness) -> None:
    others = photos_like(400, 1)
    assert np.mean([bool(likeness.unlike(photo)) for photo in others]) < 0.05
    empty = PhotoFeatures(512, 5, None)
    assert likeness.unlike(empty) == ()


def test_it_comes_back_from_json_and_is_none_without_photos(likeness: TrainingLikeness) -> None:
    again = TrainingLikeness.from_plain(json.loads(json.dumps(likeness.to_plain())))
    photo = PhotoFeatures(4000, 4, 18, PixelFeatures(115, 30, 40))
    assert again.unlike(photo) == likeness.unlike(photo)
    assert fit_likeness([]) is None


def test_training_photos_are_measured_in_their_own_pixels_and_some_are_read(tmp_path: Path) -> None:
    count = MOST_PHOTOS + 5
    Image.new("RGB", (100, 50), (200, 100, 100)).save(tmp_path / "a.png")
    columns = CocoColumns(
        image_ids=np.arange(count),
        file_names=np.array(["a.png"] * (count - 1) + ["missing.png"]),
        sizes_wh=np.tile([100, 50], (count, 1)),
        annotation_ids=np.arange(2),
        annotation_image_ids=np.array([0, 0]),
        annotation_category_ids=np.array([1, 1]),
        boxes_xywh=np.array([[1.0, 1, 5, 5], [9, 9, 5, 5]]),
        iscrowd=np.zeros(2, bool),
        category_ids=np.array([1]),
        class_names=("colony",),
        original_sizes_wh=np.tile([400, 200], (count, 1)),
    )
    measured = measure_training(columns, tmp_path)
    assert len(measured) == count
    assert measured[0] == measured[0].__class__(400, 2, 20, measured[0].pixels)
    assert sum(photo.pixels is not None for photo in measured) in (MOST_PHOTOS, MOST_PHOTOS - 1)
    pixels = [photo.pixels for photo in measured if photo.pixels is not None]
    assert (pixels[0].contrast, round(pixels[0].colourfulness)) == (pytest.approx(0, abs=1e-3), 100)


def test_real_crops_and_real_plates_are_told_apart(shared_data: Path) -> None:
    sets = {name: _measured(shared_data / name, step) for name, step in (("plates", 1), ("colonies", 12))}
    for name, other in (("plates", "colonies"), ("colonies", "plates")):
        fitted = fit_likeness(sets[name][::2])
        assert fitted is not None
        assert np.mean([bool(fitted.unlike(photo)) for photo in sets[name][1::2]]) < 0.05
        assert np.mean([bool(fitted.unlike(photo)) for photo in sets[other]]) > 0.95


def _measured(folder: Path, step: int) -> list[PhotoFeatures]:
    found = []
    for path in sorted(folder.glob("*.jpg"))[::step]:
        labels = json.loads(path.with_suffix(".json").read_text())["labels"]
        boxes = np.array([[one[key] for key in ("x", "y", "width", "height")] for one in labels]).reshape(-1, 4)
        pixels, scale = load_image(path, 160)
        size_wh = (round(pixels.shape[1] / scale), round(pixels.shape[0] / scale))
        found.append(measure_photo(size_wh, boxes, measure_pixels(pixels)))
    return found
