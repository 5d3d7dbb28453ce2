"""However a file says the same thing, its boxes are read as they are, or the photo is named: none is lost or moved.

Here: files that are right in themselves, written as others write them. Not here: broken ones (`test_import_fuzz`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Format, ImportSource, Reading
from agar_pipeline.fiftyone_io.importing.found_images import read_source
from tests.fiftyone_io.annotation_files.test_import_formats import photo

pytestmark = pytest.mark.usefixtures("parsers")
EXAMPLES = int(os.environ.get("AGAR_FUZZ_EXAMPLES", "40"))
SMALL = settings(
    max_examples=max(40, EXAMPLES // 10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PHOTOS = ("1.jpg", "a/2 b.jpg", "a/c/3.jpg")
LABELS = ("E.coli", "lac+", "Wölfe 1.5 mm")
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])


class Box(NamedTuple):
    label: str
    corners: tuple[int, int, int, int]
    """Left, top, right, bottom, in pixels of 100×80."""


@st.composite
def boxes(draw: st.DrawFn) -> list[list[Box]]:
    """Of each photo."""
    box = st.builds(
        lambda label, x, y, w, h: Box(label, (x, y, x + w, y + h)),
        st.sampled_from(LABELS), st.integers(0, 60), st.integers(0, 50), st.integers(1, 39), st.integers(1, 29),
    )  # fmt: skip
    return [draw(st.lists(box, max_size=3)) for _ in PHOTOS]


def read(format: Format, folder: Path) -> Reading | None:
    try:
        return read_source(ImportSource(format, str(folder)), lambda done, total: None)[0]
    except PipelineError as error:
        refusal = str(error)
    assert str(folder) in refusal, "the refusal names no file"
    assert len(refusal.splitlines()) <= 3
    return None


def require_all(reading: Reading | None, truth: list[list[Box]], refused: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Every photo has its boxes, or is named; those in `refused` must not be read at all."""
    if reading is None:
        return
    named = [*reading.problems, *reading.images_without_annotation, *reading.annotations_without_image]
    found = {image.name: image for image in reading.images}
    for name, expected in zip(PHOTOS, truth, strict=True):
        if name not in found:
            assert any(Path(name).stem in each for each in named), f"{name} is lost without a word: {named}"
            continue
        assert name not in refused, f"{name} is read, though what it says is contradictory"
        image = found[name]
        sides = [
            [round(side * scale, 3) for side, scale in zip(box, (100, 80, 100, 80), strict=True)]
            for box in image.boxes_rel_xywh
        ]
        wanted = [
            (b.label, [b.corners[0], b.corners[1], b.corners[2] - b.corners[0], b.corners[3] - b.corners[1]])
            for b in expected
        ]
        assert sorted(zip(image.labels, sides, strict=True)) == sorted(wanted), name


def with_photos(folder: str) -> Path:
    for name in PHOTOS:
        photo(Path(folder, name))
    return Path(folder)


IDS: dict[str, Callable[[int], Any]] = {
    "number": lambda number: number,
    "text": str,
    "fraction": float,
    "from 0": lambda number: number - 1,
    "padded": lambda number: f"{number:03d}",
}
NAMES: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "dot": lambda name: f"./{name}",
    "windows": lambda name: name.replace("/", "\\"),
    "quoted": quote,
    "a folder more": lambda name: f"images/{name}",
    "base name": lambda name: Path(name).name,
}


@SMALL
@given(
    truth=boxes(),
    of_images=st.sampled_from(sorted(IDS)),
    of_boxes=st.sampled_from(sorted(IDS)),
    naming=st.sampled_from(sorted(NAMES)),
    encoding=ENCODINGS,
    first_category=st.sampled_from([0, 1, 7]),
    beside=st.sampled_from([{}, {"iscrowd": 0}, {"attributes": None}, {"attributes": {"id": "x"}}, {"score": None}]),
)
@example([[Box("E.coli", (1, 2, 3, 4))]] * 3, "number", "fraction", "as it is", "utf-8", 1, {})
@example([[Box("E.coli", (1, 2, 3, 4))]] * 3, "number", "text", "as it is", "utf-8", 1, {})
@example([[Box("E.coli", (1, 2, 3, 4))]] * 3, "text", "text", "quoted", "utf-16", 0, {})
def test_coco_written_in_any_way(
    truth: list[list[Box]],
    of_images: str,
    of_boxes: str,
    naming: str,
    encoding: str,
    first_category: int,
    beside: dict[str, Any],
) -> None:
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, (name, found) in enumerate(zip(PHOTOS, truth, strict=True), start=1):
        images.append({"id": IDS[of_images](number), "file_name": NAMES[naming](name), "width": 100, "height": 80})
        for box in found:
            left, top, right, bottom = box.corners
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": IDS[of_boxes](number),
                    "category_id": first_category + LABELS.index(box.label),
                    "bbox": [left, top, right - left, bottom - top],
                    **beside,
                }
            )
    categories = [{"id": first_category + i, "name": label} for i, label in enumerate(LABELS)]
    plain = {"images": images, "annotations": annotations, "categories": categories}
    with tempfile.TemporaryDirectory() as folder:
        root = with_photos(folder)
        (root / "coco.json").write_bytes(json.dumps(plain, ensure_ascii=False).encode(encoding))
        reading = read("coco", root)
    if {of_images, of_boxes} == {"number", "from 0"}:
        return  # a file that names the images from 0 and their boxes from 1 is consistent in itself, nobody can tell
    require_all(reading, truth)


@SMALL
@given(
    truth=boxes(),
    reversed_corners=st.booleans(),
    number=st.sampled_from(["{}", "{}.0", " {} "]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    file_name=st.sampled_from(["own", "without suffix", "other", "none"]),
    size=st.sampled_from(["<size><width>100</width><height>80</height><depth>3</depth></size>", "", "<size/>"]),
)
@example([[Box("E.coli", (1, 2, 3, 4))]] * 3, True, "{}", "utf-8", "own", "")
@example([[Box("E.coli", (1, 2, 3, 4))]] * 3, False, "{}", "utf-8", "other", "")
def test_voc_written_in_any_way(
    truth: list[list[Box]], reversed_corners: bool, number: str, encoding: str, file_name: str, size: str
) -> None:
    keys = ("xmax", "ymax", "xmin", "ymin") if reversed_corners else ("xmin", "ymin", "xmax", "ymax")
    with tempfile.TemporaryDirectory() as folder:
        root = with_photos(folder)
        for index, (name, found) in enumerate(zip(PHOTOS, truth, strict=True)):
            objects = ""
            for box in found:
                sides = "".join(f"<{k}>{number.format(c)}</{k}>" for k, c in zip(keys, box.corners, strict=True))
                objects += f"<object><name>{box.label}</name><bndbox>{sides}</bndbox></object>"
            own = Path(name)
            other = Path(PHOTOS[index - 1]).name
            stated = {"own": own.name, "without suffix": own.stem, "other": other, "none": ""}[file_name]
            file = f"<filename>{stated}</filename>" if stated else ""
            declared = "utf-8" if encoding == "utf-8-sig" else encoding
            text = f'<?xml version="1.0" encoding="{declared}"?><annotation>{file}{size}{objects}</annotation>'
            (root / name).with_suffix(".xml").write_bytes(text.encode(encoding))
        reading = read("voc", root)
    require_all(reading, truth)


@SMALL
@given(
    truth=boxes(),
    encoding=ENCODINGS,
    line_end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    digits=st.sampled_from(["{:.6f}", "{:.9e}", "+{:.6f}"]),
    shape=st.sampled_from(["box", "polygon", "pose 2", "pose 3"]),
    names=st.sampled_from(["list", "numbers", "lines"]),
)
@example([[Box("lac+", (1, 2, 3, 4))]] * 3, "utf-8", "\n", "{:.6f}", "pose 3", "list")
@example([[Box("lac+", (1, 2, 3, 4))]] * 3, "utf-16", "\r\n", "{:.6f}", "box", "lines")
def test_yolo_written_in_any_way(
    truth: list[list[Box]], encoding: str, line_end: str, digits: str, shape: str, names: str
) -> None:
    if shape.startswith("pose") and names == "lines":
        names = "list"  # only data.yaml can declare key points
    with tempfile.TemporaryDirectory() as folder:
        root = with_photos(folder)
        for name, found in zip(PHOTOS, truth, strict=True):
            rows = [
                f"{LABELS.index(box.label)} {' '.join(digits.format(n) for n in _row(box, shape))}" for box in found
            ]
            (root / name).with_suffix(".txt").write_bytes(line_end.join([*rows, ""]).encode(encoding))
        named: Any = {"list": list(LABELS), "numbers": dict(enumerate(LABELS)), "lines": None}[names]
        points = {"kpt_shape": [2, int(shape[-1])]} if shape.startswith("pose") else {}
        if named is None:
            (root / "classes.txt").write_bytes(line_end.replace("\n\n", "\n").join([*LABELS, ""]).encode(encoding))
        else:
            lines = f"names: {json.dumps(named, ensure_ascii=False)}\n".replace('"0"', "0").replace('"1"', "1")
            text = lines.replace('"2"', "2") + (f"kpt_shape: {points['kpt_shape']}\n" if points else "")
            (root / "data.yaml").write_bytes(text.encode(encoding))
        reading = read("yolo", root)
    require_all(reading, truth)


def _row(box: Box, shape: str) -> list[float]:
    left, top, right, bottom = (side / scale for side, scale in zip(box.corners, (100, 80, 100, 80), strict=True))
    if shape == "polygon":
        return [left, top, right, top, right, bottom, left, bottom]
    row = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    if shape.startswith("pose"):  # two points of the plate, far from the box
        row += [0.95, 0.95, 0.02, 0.02] if shape == "pose 2" else [0.95, 0.95, 2, 0.02, 0.02, 1]
    return row
