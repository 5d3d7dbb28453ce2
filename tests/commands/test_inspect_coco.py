"""`agar inspect-coco`: any COCO file, its images and its faults, with neither Dagster nor FiftyOne."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from agar_pipeline.coco.columns import read_coco
from agar_pipeline.commands import agar
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.errors import AnnotationError, ImageFileError

SIZE_WH = (120, 80)
Photo = Callable[[Path], object]


def gradient(width: int = SIZE_WH[0], height: int = SIZE_WH[1]) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def write_coco_file(folder: Path, names: list[str], **more: Any) -> Path:
    """One good box in each picture; `more` replaces whole lists."""
    images = [{"id": i, "file_name": n, "width": 120, "height": 80} for i, n in enumerate(names, 1)]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 20, 20]} for i in range(1, len(names) + 1)]
    plain = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "S. aureus"}], **more}
    path = folder / "given.json"
    path.write_text(json.dumps(plain))
    return path


def inspect(path: Path, *options: str) -> tuple[Result, dict[str, Any]]:
    report = path.parent / "out" / "report.json"
    command = ["inspect-coco", "--json", str(path), "--images-dir", str(path.parent), "--report", str(report)]
    done = CliRunner().invoke(agar, [*command, *options])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done, json.loads(report.read_text())


def counts_of(report: dict[str, Any]) -> dict[str, int]:
    return {rule: entry["count"] for rule, entry in report["findings"].items() if entry["count"]}


def cut(path: Path) -> None:
    gradient().save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-3000])


def zero_filled(path: Path) -> None:
    gradient().save(path, quality=95)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))


def exif(orientation: int, size_wh: tuple[int, int]) -> Photo:
    tag = Image.Exif()
    tag[0x0112] = orientation
    return lambda path: gradient(*size_wh).save(path, exif=tag)


def outside(path: Path) -> None:
    target = path.parent.parent / "outside.jpg"
    gradient().save(target)
    path.symlink_to(target)


FILES: dict[str, tuple[str, Photo, dict[str, int]]] = {
    "a whole photo": ("a.jpg", lambda path: gradient().save(path), {}),
    "a JPEG that is cut off": ("a.jpg", cut, {"unreadable_image": 1}),
    "a download that ends in zeros": ("a.jpg", zero_filled, {"unreadable_image": 1}),
    "text named as a photo": ("a.jpg", lambda path: path.write_text("hello"), {"unreadable_image": 1}),
    "an empty file": ("a.jpg", lambda path: path.touch(), {"unreadable_image": 1}),
    "a decompression bomb": (
        "a.png",
        lambda path: Image.new("1", (20_000, 20_000)).save(path),
        {"oversized_image": 1},
    ),
    "a PNG named .jpg": ("a.jpg", lambda path: gradient().save(path, "PNG"), {"unusual_image": 1}),
    "CMYK": ("a.jpg", lambda path: gradient().convert("CMYK").save(path), {"unusual_image": 1}),
    "16 bits": (
        "a.png",
        lambda path: Image.fromarray(np.zeros(SIZE_WH[::-1], np.uint16)).save(path),
        {"unusual_image": 1, "blank_image": 1},
    ),
    "an alpha channel": ("a.png", lambda path: gradient().convert("RGBA").save(path), {"unusual_image": 1}),
    "turned by EXIF, declared as displayed": ("a.jpg", exif(6, SIZE_WH[::-1]), {"rotated_image": 1}),
    "turned by EXIF, declared as stored": (
        "a.jpg",
        exif(6, SIZE_WH),
        {"rotated_image": 1, "image_size_mismatch": 1},
    ),
    "another size": ("a.jpg", lambda path: gradient(60, 40).save(path), {"image_size_mismatch": 1}),
    "no file": ("a.jpg", lambda path: None, {"missing_image": 1}),
    "a link out of the folder": ("a.jpg", outside, {"unsafe_file_name": 1}),
    "a FIFO": ("a.jpg", lambda path: os.mkfifo(path), {"unsafe_file_name": 1}),
    "a folder": ("a.jpg", lambda path: path.mkdir(), {"unsafe_file_name": 1}),
    "a device": ("/dev/zero", lambda path: None, {"unsafe_file_name": 1}),
    "a name that climbs out": ("../outside.jpg", lambda path: gradient().save(path), {"unsafe_file_name": 1}),
    "a name with NUL": ("a\0.jpg", lambda path: None, {"unsafe_file_name": 1}),
    "spaces, unicode, % and a newline": ("Ä %s\n {x}.jpg", lambda path: gradient().save(path), {}),
    "255 bytes": ("é" * 125 + "a.jpg", lambda path: gradient().save(path), {}),
    "256 bytes": ("a" * 252 + ".jpg", lambda path: None, {"missing_image": 1}),
}
HARMLESS = {"unusual_image", "rotated_image", "blank_image"}


@pytest.mark.parametrize("case", FILES)
def test_every_kind_of_file_is_named_and_those_that_would_harm_are_refused_by_the_loader_too(
    tmp_path: Path, case: str
) -> None:
    name, make, expected = FILES[case]
    folder = tmp_path / "photos"
    folder.mkdir()
    make(folder / name)
    path = write_coco_file(folder, [name])
    done, report = inspect(path, "--check-all")
    assert counts_of(report) == expected
    blocking = set(expected) - HARMLESS
    assert (done.exit_code, report["ok"]) == (int(bool(blocking)), not blocking)
    for finding in report["findings_listed"]:
        assert (finding["image_id"], finding["file_name"]) == (1, name)
        assert finding["value"]
    dataset = DetectionDataset(read_coco(path), folder, 64)
    if blocking and case != "a download that ends in zeros":
        with pytest.raises(ImageFileError):
            dataset[0]
    else:
        assert dataset[0][0].shape[0] == 3


def ids(*values: Any, **keys: Any) -> list[dict[str, Any]]:
    return [{"id": value, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20 + i], **keys}
            for i, value in enumerate(values)]  # fmt: skip


ANNOTATIONS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "annotation ids twice": ({"annotations": ids(7, 8, 7)}, {"duplicate_annotation_id": 1}),
    "negative annotation id": ({"annotations": ids(-7, 8)}, {"negative_id": 1}),
    "huge ids": ({"annotations": ids(2**62, 2**62 + 1)}, {}),
    "an image that is not listed": ({"annotations": ids(1) + ids(2, image_id=99)}, {"unknown_image": 1}),
    "a category that is not listed": ({"annotations": ids(1) + ids(2, category_id=2)}, {"unknown_class": 1}),
    "labels from 0": ({"annotations": ids(1) + ids(2, category_id=0)}, {"unknown_class": 1}),
    "categories from 0": (
        {"annotations": ids(1) + ids(2, category_id=0), "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]},
        {"category_id_below_1": 1},
    ),
    "category ids twice": (
        {"annotations": ids(1), "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
        {"duplicate_category": 1},
    ),
    "a class name twice": (
        {"annotations": ids(1), "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]},
        {"duplicate_category": 1, "absent_class": 1},
    ),
    "image ids twice": (
        {"images": [{"id": 1, "file_name": n, "width": 120, "height": 80} for n in ("1.jpg", "sub/1.jpg")]},
        {"duplicate_image_id": 1, "unknown_image": 1},
    ),
    "the same file twice": (
        {"images": [{"id": i, "file_name": "1.jpg", "width": 120, "height": 80} for i in (1, 2)]},
        {"duplicate_file_name": 1},
    ),
    "one image, no boxes": ({"annotations": []}, {"part_without_boxes": 1}),
    "a box that is not finite": ({"annotations": ids(1) + ids(2, bbox=[1, 2, None, 4])}, {"non_finite_box": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", ANNOTATIONS)
def test_every_fault_of_ids_and_classes_is_listed(tmp_path: Path, case: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("1.jpg", "sub/1.jpg"):
        gradient().save(tmp_path / name)
    lists, expected = ANNOTATIONS[case]
    done, report = inspect(write_coco_file(tmp_path, ["1.jpg", "sub/1.jpg"], **lists))
    assert counts_of(report) == expected
    noted = {"absent_class", "part_without_boxes", "category_id_below_1"}
    assert done.exit_code == (0 if set(expected) <= noted else 1)
    assert len(report["findings_listed"]) == sum(expected.values())


@pytest.mark.parametrize("bad_id", [1.5, "1", True, None, 2**63, -(2**64)])
def test_ids_that_are_no_ids_are_refused_with_their_place(tmp_path: Path, bad_id: Any) -> None:
    gradient().save(tmp_path / "1.jpg")
    path = write_coco_file(tmp_path, ["1.jpg"], annotations=ids(5, bad_id))
    command = ["inspect-coco", "--json", str(path), "--images-dir", str(tmp_path)]
    assert "annotations[1].id is" in str(CliRunner().invoke(agar, command).exception)


def test_a_sample_opens_so_many_files_the_same_each_time_and_still_checks_every_box(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(12)]
    for name in names:
        (tmp_path / name).write_text("no image")
    path = write_coco_file(tmp_path, names)
    done, report = inspect(path, "--sample", "4", "--seed", "3")
    assert counts_of(report) == {"unreadable_image": 4}
    assert report["image_files"] == {"opened": 4, "asked": 4, "of": 12, "depth": "decode", "seed": 3}
    assert "4 of 12 image files decoded, a sample with seed 3" in done.output
    assert inspect(path, "--sample", "4", "--seed", "3")[1] == report
    assert inspect(path, "--sample", "4", "--seed", "4")[1] != report
    assert counts_of(inspect(path, "--check-all")[1]) == {"unreadable_image": 12}
    assert counts_of(inspect(path, "--images", "skip")[1]) == {}


def test_files_that_are_missing_are_not_counted_as_opened(tmp_path: Path) -> None:
    gradient().save(tmp_path / "0.jpg")
    path = write_coco_file(tmp_path, [f"{i}.jpg" for i in range(4)])
    done, report = inspect(path, "--check-all")
    assert "1 of 4 image files decoded" in done.output
    assert counts_of(report) == {"missing_image": 3}


def test_policy_decides_the_exit_code_and_a_file_of_0_images_is_an_error(tmp_path: Path) -> None:
    gradient().save(tmp_path / "1.jpg")
    path = write_coco_file(tmp_path, ["1.jpg"], annotations=ids(1) + ids(2, bbox=[1, 2, 0.5, 4]))
    assert inspect(path)[0].exit_code == 0
    assert inspect(path, "--policy", "small_box=fail")[0].exit_code == 1
    assert inspect(path, "--min-box-side", "0.1", "--policy", "small_box=fail")[0].exit_code == 0
    empty = write_coco_file(tmp_path, [])
    command = ["inspect-coco", "--json", str(empty), "--images-dir", str(tmp_path)]
    assert "lists 0 images" in str(CliRunner().invoke(agar, command).exception)


def test_neither_dagster_nor_fiftyone_nor_torch_is_loaded(tmp_path: Path) -> None:
    gradient().save(tmp_path / "1.jpg")
    path = write_coco_file(tmp_path, ["1.jpg"])
    arguments = ["inspect-coco", "--json", str(path), "--images-dir", str(tmp_path), "--html", str(tmp_path / "p.html")]
    code = f"import sys\nfrom agar_pipeline.commands import main\ntry: main({arguments!r})\nfinally:\n"
    code += " print([n for n in ('dagster', 'fiftyone', 'torch', 'pymongo') if n in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert "Bounding box report" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("crowds", "rules"),
    [([1, 1], {"empty_part": 1}), ([True, True], {"empty_part": 1}), ([1, 0], {}), ([0, None], {})],
    ids=["all are regions", "all are true", "one of two", "none"],
)
def test_boxes_that_are_all_regions_of_many_are_no_boxes(
    crowds: list[Any], rules: dict[str, int], tmp_path: Path
) -> None:
    names = ["a.jpg", "b.jpg"]
    for name in names:
        gradient().save(tmp_path / name)
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 20, 20], "iscrowd": crowd}
        for i, crowd in enumerate(crowds, start=1)
    ]
    done, report = inspect(write_coco_file(tmp_path, names, annotations=boxes))
    assert counts_of(report) == rules
    assert done.exit_code == (1 if rules else 0)
    assert ("0 annotations: all 2 are marked iscrowd (a region of many)" in done.stdout) == bool(rules)
    regions = sum(bool(crowd) for crowd in crowds)
    assert (f"neither learnt nor scored: {regions} of the annotations" in done.stdout) == bool(regions)
    assert report["health"]["colonies_per_plate"]["empty"] == regions


@pytest.mark.parametrize(
    ("mark", "is_done"),
    [
        ({"annotated": False}, False),
        ({"status": "In Progress"}, False),
        ({"is_labeled": False, "status": "x"}, False),
        ({"image_status": "To do"}, False),
        ({"annotated": True, "status": "Done"}, True),
        ({"status": 3, "annotated": None}, True),
    ],
    ids=str,
)
def test_an_image_that_a_tool_marks_as_not_done_is_no_empty_plate(
    mark: dict[str, Any], is_done: bool, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        gradient().save(tmp_path / name)
    path = write_coco_file(tmp_path, ["a.jpg", "b.jpg"])
    plain = json.loads(path.read_text())
    plain["images"][1] |= mark
    plain["annotations"].pop()
    path.write_text(json.dumps(plain))
    done, report = inspect(path)
    assert counts_of(report) == ({} if is_done else {"unlabelled_image": 1})
    assert done.exit_code == (0 if is_done else 1)


@pytest.mark.parametrize("name", ["", " ", "\u2003", "\u200b"], ids=ascii)
def test_a_category_that_nobody_can_name_is_refused(name: str, tmp_path: Path) -> None:
    path = write_coco_file(tmp_path, ["a.jpg"], categories=[{"id": 1, "name": "a"}, {"id": 2, "name": name}])
    with pytest.raises(AnnotationError, match=r"categories\[1\].name is .*, but must be a name that is not blank"):
        read_coco(path)
