import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.plates.generate import CLASS_NAMES, EMPTY_EVERY, MARKER_NAME, generate_plates, render_plate


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _annotations(folder: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plates")
    assert generate_plates(folder, 64) == 64
    return folder


def test_same_arguments_give_the_same_bytes_in_any_order(plates: Path) -> None:
    for number in (33, 2, 17):
        jpeg, annotation = render_plate(number)
        assert (plates / f"{number}.jpg").read_bytes() == jpeg
        assert (plates / f"{number}.json").read_bytes() == annotation


def test_another_seed_or_number_gives_another_plate() -> None:
    pictures = {render_plate(number, 96, seed)[0] for number in (1, 2, 3) for seed in (0, 1, 2)}
    assert len(pictures) == 9


def test_folder_holds_agar_native_pairs_and_nothing_that_looks_like_one(plates: Path) -> None:
    names = {f"{n}{end}" for n in range(1, 65) for end in (".jpg", ".json")}
    assert set(_contents(plates)) == names | {MARKER_NAME}
    for annotation in _annotations(plates):
        assert list(annotation) == ["sample_id", "background", "classes", "colonies_number", "labels"]
        assert annotation["background"] in ("dark", "bright")
        assert annotation["colonies_number"] == len(annotation["labels"])
        assert annotation["classes"] == sorted({label["class"] for label in annotation["labels"]})
        assert set(annotation["classes"]) <= set(CLASS_NAMES) == {"S.aureus", "C.albicans", "E.coli"}
        with Image.open(plates / f"{annotation['sample_id']}.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (320, 320))


@pytest.mark.parametrize(
    ("size_px", "colonies_per_plate"),
    [
        pytest.param(320, None, id="demo plates"),
        pytest.param(320, (200, 200), id="crowded plates"),
        pytest.param(777, (1, 9), id="an odd size"),
    ],
)
def test_boxes_lie_inside_image_and_dish(size_px: int, colonies_per_plate: tuple[int, int] | None) -> None:
    for number in range(1, 9):
        for label in json.loads(render_plate(number, size_px, 4, colonies_per_plate)[1])["labels"]:
            x, y, width, height = (label[key] for key in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert min(width, height) >= 3
            assert max(x + width, y + height) <= size_px
            middle = np.hypot(x + width / 2 - size_px / 2, y + height / 2 - size_px / 2)
            assert middle + min(width, height) / 2 < 0.482 * size_px


@pytest.mark.parametrize("number", [4, 7, 8, 13])
def test_boxes_are_tight_around_what_is_painted(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone colony changes the photo up to the box's four sides, and little but its shadow lies outside."""
    from agar_pipeline.plates import generate, plate_paint
    from agar_pipeline.plates.colony_paint import paint_colony

    drawn: list[np.ndarray] = []

    def watch(rng: Any, photo: np.ndarray, *rest: Any) -> None:
        before = photo.copy()
        paint_colony(rng, photo, *rest)
        drawn.append(np.abs(photo - before).max(axis=2))

    monkeypatch.setattr(plate_paint, "paint_colony", watch)
    (label,) = json.loads(generate.render_plate(number, 320, 3, (1, 1))[1])["labels"]
    change = drawn[0]
    box = (label["x"], label["y"], label["x"] + label["width"], label["y"] + label["height"])
    inside = np.zeros_like(change, dtype=bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    ys, xs = np.nonzero(change > 0.5 * np.median(change[inside]))
    painted = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert np.abs(np.subtract(painted, box)).max() <= 2
    assert change[inside].sum() > 0.8 * change.sum()


def test_plates_resemble_what_the_demo_needs(plates: Path) -> None:
    annotations = _annotations(plates)
    counts = np.array([annotation["colonies_number"] for annotation in annotations])
    assert (counts == 0).sum() == 64 // EMPTY_EVERY
    assert 9 < counts.mean() < 17
    assert counts.max() > 30
    labels = [label for annotation in annotations for label in annotation["labels"]]
    sides = {name: [(b["width"] * b["height"]) ** 0.5 for b in labels if b["class"] == name] for name in CLASS_NAMES}
    medians = [np.median(sides[name]) for name in ("S.aureus", "C.albicans", "E.coli")]
    assert medians[0] + 2 < medians[1] < medians[2] - 4
    assert min(map(len, sides.values())) > 0.15 * len(labels)
    assert any(len(annotation["classes"]) == 3 for annotation in annotations)


def test_crowded_plates_keep_nearly_all_their_colonies() -> None:
    assert json.loads(render_plate(1, 320, 0, (250, 250))[1])["colonies_number"] >= 240


def test_second_call_writes_nothing(tmp_path: Path) -> None:
    assert generate_plates(tmp_path, 3, 96) == 3
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert generate_plates(tmp_path, 3, 96) == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_interrupted_or_damaged_folder_is_completed_without_rewriting_the_rest(tmp_path: Path) -> None:
    whole, done = tmp_path / "whole", tmp_path / "done"
    generate_plates(whole, 4, 96)

    def stop_after_two(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_plates(done, 4, 96, progress=stop_after_two)
    assert generate_plates(done, 4, 96) == 2
    (done / "3.jpg").unlink()
    assert generate_plates(done, 4, 96) == 1
    assert _contents(done) == _contents(whole)


def test_plates_that_a_person_edited_stay_where_others_are_missing(tmp_path: Path) -> None:
    generate_plates(tmp_path, 4, 96)
    before = _contents(tmp_path)
    edited = {"1.json": b"corrected", "2.jpg": b"cropped", "3.json": b"mine"}
    for name, content in edited.items():
        (tmp_path / name).write_bytes(content)
    for name in ("3.jpg", "4.json"):
        (tmp_path / name).unlink()
    assert generate_plates(tmp_path, 4, 96) == 2
    assert _contents(tmp_path) == before | edited


def test_other_arguments_replace_the_plates_and_report_progress(tmp_path: Path) -> None:
    generate_plates(tmp_path, 3, 96)
    seen: list[int] = []
    assert generate_plates(tmp_path, 3, 96, seed=1, progress=seen.append) == 3
    assert seen == [1, 2, 3]
    assert (tmp_path / "1.jpg").read_bytes() == render_plate(1, 96, 1)[0]


def test_a_failed_write_leaves_no_half_file_and_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_plates(tmp_path, 2, 96)
    before = (tmp_path / "1.jpg").read_bytes()

    def full_disk(self: Path, target: os.PathLike[str]) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        generate_plates(tmp_path, 2, 96, seed=5)
    assert (tmp_path / "1.jpg").read_bytes() == before
    assert not (tmp_path / MARKER_NAME).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"count": -1}, id="fewer than no plates"),
        pytest.param({"count": 1, "size_px": 8}, id="too small to see a colony"),
        pytest.param({"count": 1, "seed": -1}, id="negative seed"),
        pytest.param({"count": 1, "colonies_per_plate": (9, 2)}, id="least above most"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"use|give"):
        generate_plates(tmp_path, **arguments)
