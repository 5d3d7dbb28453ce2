"""COCO, VOC and YOLO with FiftyOne's parsers and a real database; `commands/test_import` goes through the child."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Format, ImportSource
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.import_images import import_at
from tests.fiftyone_io.conftest import collection_of

CLASS_MAP = {"S.aureus": 1, "E.coli": 2}
LABELS = ["S. aureus", "e_coli"]
BOXES: list[list[float]] = [[10, 10, 20, 10], [50, 40, 10.5, 20]]
Import = Callable[..., ImportCounts]


@pytest.fixture
def name(new_dataset: Callable[[], str]) -> str:
    return new_dataset()


@pytest.fixture
def run_import(uri: str, home: Path, parsers: None, name: str) -> Import:
    def run(format: Format, images_dir: Path, annotations: Path | None = None, **class_map: int) -> ImportCounts:
        source = ImportSource(
            format, str(images_dir), str(annotations) if annotations else None, class_map=class_map or CLASS_MAP
        )
        return import_at(uri, source, name, home, lambda dataset, fields: None, lambda done, total: None)

    return run


def photo(path: Path, size: tuple[int, int] = (100, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def xml(boxes: list[list[float]], labels: list[str] = LABELS, size: str = "100 80", extra: str = "") -> str:
    width, height = size.split()
    objects = "".join(
        f"<object><name>{label}</name><difficult>1</difficult><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for label, (x, y, w, h) in zip(labels, boxes, strict=False)
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{extra}{objects}</annotation>"


def rows(boxes: list[list[float]]) -> str:
    lines = [f"{i} {(x + w / 2) / 100} {(y + h / 2) / 80} {w / 100} {h / 80}" for i, (x, y, w, h) in enumerate(boxes)]
    return "\n".join(lines)


def make_voc(folder: Path) -> Path:
    """Two images of one base name, and an empty one."""
    for stem, boxes in (("a/1", BOXES), ("b/1", BOXES[:1]), ("empty", [])):
        photo(folder / "JPEGImages" / f"{stem}.jpg")
        path = folder / "Annotations" / f"{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml(boxes))
    return folder


def make_yolo(folder: Path) -> Path:
    """The same in YOLO's newer layout."""
    for stem, boxes in (("a/1", BOXES), ("b/1", BOXES[:1]), ("empty", [])):
        photo(folder / "images" / f"{stem}.jpg")
        path = folder / "labels" / f"{stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rows(boxes))
    (folder / "data.yaml").write_text(
        json.dumps({"names": {0: LABELS[0], 1: LABELS[1]}}).replace('"0"', "0").replace('"1"', "1")
    )
    return folder


def make_coco(folder: Path) -> Path:
    """The same in COCO."""
    annotations: list[dict[str, Any]] = []
    images = []
    for image_id, (stem, boxes) in enumerate((("a/1", BOXES), ("b/1", BOXES[:1]), ("empty", []))):
        photo(folder / f"{stem}.jpg")
        images.append({"id": image_id, "file_name": f"{stem}.jpg", "width": 100, "height": 80})
        for category_id, box in enumerate(boxes):
            annotations.append(
                {"id": len(annotations), "image_id": image_id, "category_id": category_id, "bbox": box, "iscrowd": 0}
            )
    categories = [{"id": i, "name": label} for i, label in enumerate(LABELS)]
    plain = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(plain))
    return folder


def edit_coco(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    plain = json.loads((folder / "coco.json").read_text())
    change(plain)
    (folder / "coco.json").write_text(json.dumps(plain))


MAKERS: dict[Format, Callable[[Path], Path]] = {"voc": make_voc, "yolo": make_yolo, "coco": make_coco}


def boxes_in(database: Any, dataset: str, tail: str) -> dict[str, list[float]]:
    """Label → box in pixels, of the sample whose path ends so."""
    samples = list(database[collection_of(database, dataset)].find())
    (sample,) = [each for each in samples if each["filepath"].endswith(tail)]
    return {
        each["label"]: [round(side * scale, 6) for side, scale in zip(each["bounding_box"], (100, 80) * 2, strict=True)]
        for each in sample["ground_truth"]["detections"]
    }


def remove_second_box(format: Format, folder: Path) -> None:
    if format == "voc":
        (folder / "Annotations" / "a" / "1.xml").write_text(xml(BOXES[:1]))
    elif format == "yolo":
        (folder / "labels" / "a" / "1.txt").write_text(rows(BOXES[:1]))
    else:
        edit_coco(folder, lambda plain: plain["annotations"].pop(1))


@pytest.mark.parametrize("format", MAKERS)
def test_imported_once_twice_and_after_an_edit(
    format: Format, tmp_path: Path, name: str, run_import: Import, database: Any
) -> None:
    folder = MAKERS[format](tmp_path / "płytka 1")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    counts = run_import(format, folder)
    assert (counts.added, counts.boxes, counts.problems) == (3, 3, [])
    assert counts.classes == {"S.aureus": 2, "E.coli": 1}, "spelt as the class map spells them"
    assert boxes_in(database, name, "a/1.jpg") == {"S.aureus": BOXES[0], "E.coli": BOXES[1]}, "no fraction is lost"
    assert boxes_in(database, name, "b/1.jpg") == {"S.aureus": BOXES[0]}, "another image of the same base name"
    counts = run_import(format, folder)
    assert (counts.added, counts.updated, counts.unchanged, counts.boxes) == (0, 0, 3, 3)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "the source is never written"
    remove_second_box(format, folder)
    counts = run_import(format, folder)
    assert (counts.updated, counts.unchanged) == (1, 2)
    assert boxes_in(database, name, "a/1.jpg") == {"S.aureus": BOXES[0]}, "removed boxes go"


VOC_PROBLEMS = {
    "cut.xml": (xml(BOXES)[:200], "cut.xml is not a VOC annotation"),
    "none.xml": ("<annotation/>", "none.xml is not a VOC annotation"),
    "corner.xml": (xml([[1, 2, float("nan"), 3]]), "corner.xml: object 1 has the xmax 'nan', which is not a number"),
    "name.xml": (xml(BOXES, labels=["", "x"]), "name.xml: object 1 has no name"),
    "turned.xml": (
        xml(BOXES, size="80 100"),
        "turned.xml has boxes that were drawn on 80×100 pixels, but the image has 100×80 (turned)",
    ),
}
YOLO_PROBLEMS = {
    "columns.txt": ("0 0.5 0.5 0.1", "row 1 has 4 columns"),
    "polygon.txt": ("0 .1 .1 .2 .2 .3 .3 .4", "row 1 has 8 columns"),
    "class.txt": ("7 .5 .5 .1 .1", "has the class '7'"),
    "negative.txt": ("-1 .5 .5 .1 .1", "has the class '-1'"),
    "pixels.txt": ("0 50 40 10 10", "has the value '50', which is not a share"),
    "nan.txt": ("0 nan .5 .1 .1", "has the value 'nan'"),
}


def test_broken_voc_and_yolo_files_are_named_and_the_rest_imported(tmp_path: Path, run_import: Import) -> None:
    voc, yolo = make_voc(tmp_path / "voc"), make_yolo(tmp_path / "yolo")
    for file, (text, _) in VOC_PROBLEMS.items():
        photo((voc / "JPEGImages" / file).with_suffix(".jpg"))
        (voc / "Annotations" / file).write_text(text)
    for file, (text, _) in YOLO_PROBLEMS.items():
        photo((yolo / "images" / file).with_suffix(".jpg"))
        (yolo / "labels" / file).write_text(text)
    photo(voc / "JPEGImages" / "lonely.jpg")
    (yolo / "labels" / "lost.txt").write_text("")
    for format, folder, expected in (("voc", voc, VOC_PROBLEMS), ("yolo", yolo, YOLO_PROBLEMS)):
        counts = run_import(format, folder)
        assert counts.added == 3
        assert len(counts.problems) == len(expected)
        for file, (_, message) in expected.items():
            (problem,) = [each for each in counts.problems if f"/{file}" in each]
            assert message in problem
        lonely = [counts.images_without_annotation, counts.annotations_without_image]
        assert lonely == ([["JPEGImages/lonely.jpg"], []] if format == "voc" else [[], ["labels/lost.txt"]])


def test_what_is_wrong_in_a_coco_file_is_named_and_the_rest_imported(tmp_path: Path, run_import: Import) -> None:
    folder = make_coco(tmp_path / "coco")
    photo(tmp_path / "outside.jpg")
    (folder / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    for stem in ("sides", "category", "turned", "unlisted"):
        photo(folder / f"{stem}.jpg")

    def spoil(plain: dict[str, Any]) -> None:
        names = ["../outside.jpg", str(tmp_path / "outside.jpg"), "out.jpg", "gone.jpg", "a\0.jpg", "sides.jpg"]
        for image_id, each in enumerate([*names, "category.jpg"], start=10):
            plain["images"].append({"id": image_id, "file_name": each})
        plain["images"].append({"id": 20, "file_name": "turned.jpg", "width": 80, "height": 100})
        plain["annotations"] += [
            {"id": 50, "image_id": 15, "category_id": 0, "bbox": [1, 2, None]},
            {"id": 51, "image_id": 16, "category_id": 9, "bbox": [1, 2, 3, 4]},
        ]

    edit_coco(folder, spoil)
    counts = run_import("coco", folder, folder / "coco.json")
    assert counts.added == 3
    assert counts.annotations_without_image == ["out.jpg", "gone.jpg"]
    assert counts.images_without_annotation == ["unlisted.jpg"]
    for words in (
        "image 10 has the file_name '../outside.jpg'",
        "image 11 has the file_name '/",
        "out.jpg is a link out of",
        "image 14 has no usable file_name",
        "annotation 50 of sides.jpg has the bbox [1, 2, None]",
        "annotation 51 of category.jpg has the category 9",
        "image 20 (turned.jpg) has boxes that were drawn on 80×100",
    ):
        assert len([problem for problem in counts.problems if words in problem]) == 1, words
    assert len(counts.problems) == 7


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "coco.json").write_text('{"images": ['), "coco.json is not JSON"),
        (lambda folder: (folder / "coco.json").write_text("[]"), "coco.json is not a COCO file: it holds a list"),
        (
            lambda folder: edit_coco(folder, lambda p: p["images"].append(p["images"][0])),
            "coco.json uses ids more than once in 'images': 0",
        ),
        (lambda folder: edit_coco(folder, lambda p: p.pop("categories")), "'categories' must be a list"),
    ],
)
def test_a_coco_file_that_is_none_imports_nothing(
    spoil: Callable[[Path], Any], message: str, tmp_path: Path, run_import: Import
) -> None:
    folder = make_coco(tmp_path)
    spoil(folder)
    with pytest.raises(AnnotationError, match=message):
        run_import("coco", folder)


@pytest.mark.parametrize(
    ("format", "message"),
    [("voc", "0 XML files in"), ("yolo", "none has a text file of the same name"), ("coco", "must hold one COCO file")],
)
def test_no_image_is_an_error_that_says_what_was_looked_for(
    format: Format, message: str, tmp_path: Path, run_import: Import
) -> None:
    photo(tmp_path / "1.jpg")
    with pytest.raises(DatasetError, match=message) as caught:
        run_import(format, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_the_plain_layouts_import_too(tmp_path: Path, run_import: Import) -> None:
    folder = tmp_path / "plain"
    photo(folder / "1.png")
    (folder / "1.xml").write_text(xml(BOXES))
    (folder / "1.txt").write_text(rows(BOXES))
    with pytest.raises(DatasetError, match="no names for YOLO's class numbers"):
        run_import("yolo", folder)
    (folder / "classes.txt").write_text("\n".join(LABELS))
    assert run_import("voc", folder).boxes == 2
    counts = run_import("yolo", folder)
    assert (counts.added, counts.updated, counts.boxes) == (0, 1, 2), "one image, whatever its annotation's format"
    voc = make_voc(tmp_path / "voc")
    assert run_import("voc", voc / "JPEGImages").boxes == 3
    yolo = make_yolo(tmp_path / "yolo")
    assert run_import("yolo", yolo / "images").boxes == 3
    (yolo / "data.yaml").rename(tmp_path / "put-away.yaml")
    (yolo / "labels" / "classes.txt").write_text("\n".join(LABELS))  # as labelImg does
    assert run_import("yolo", yolo / "images").unchanged == 3
    (yolo / "labels" / "a" / "classes.txt").write_text("\n".join(reversed(LABELS)))
    with pytest.raises(AnnotationError, match="name the class numbers differently"):
        run_import("yolo", yolo / "images")
    (yolo / "labels" / "a" / "classes.txt").write_text("\n\n".join(LABELS))
    with pytest.raises(AnnotationError, match="line 2 is empty"):
        run_import("yolo", yolo / "images", yolo / "labels" / "a" / "classes.txt")
    (tmp_path / "put-away.yaml").rename(yolo / "data.yaml")
    (yolo / "labels" / "a" / "classes.txt").unlink()
    shutil.move(yolo / "labels", tmp_path / "elsewhere")
    shutil.copy(yolo / "data.yaml", tmp_path / "elsewhere" / "data.yaml")
    assert run_import("yolo", yolo / "images", tmp_path / "elsewhere").unchanged == 3


def leave_unlabelled(format: Format, folder: Path) -> tuple[str, ...]:
    """Two photos more that nobody has labelled, as the format tells it; their names."""
    below = {"voc": "JPEGImages/", "yolo": "images/", "coco": ""}[format]
    names = (f"{below}new.jpg", f"{below}begun.jpg")
    for name in names:
        photo(folder / name)
    if format == "coco":  # one that the file does not list, one that a tool has written a status of

        def begin(plain: dict[str, Any]) -> None:
            plain["images"].append({"id": 7, "file_name": "begun.jpg", "status": "In Progress"})
            plain["annotations"].append({"id": 70, "image_id": 7, "category_id": 0, "bbox": BOXES[0]})

        edit_coco(folder, begin)
    return names


@pytest.mark.parametrize("format", MAKERS)
def test_a_photo_that_nobody_has_labelled_is_no_empty_plate(
    format: Format, tmp_path: Path, uri: str, home: Path, parsers: None, name: str, database: Any
) -> None:
    folder = MAKERS[format](tmp_path / "folder")
    names = leave_unlabelled(format, folder)

    def run(**more: Any) -> ImportCounts:
        source = ImportSource(format, str(folder), class_map=CLASS_MAP, **more)
        return import_at(uri, source, name, home, lambda dataset, fields: None, lambda done, total: None)

    def labels() -> dict[str, bool]:
        found = database[collection_of(database, name)].find()
        return {Path(each["filepath"]).stem: each["ground_truth"] is not None for each in found}

    counts = run()
    assert (counts.added, sorted(counts.images_without_annotation)) == (3, sorted(names)), "left out and named"
    with pytest.raises(
        DatasetError, match=r"holds 2 images that nobody has labelled, such as .*begun.jpg'; nothing was imported"
    ):
        run(unlabelled="fail")
    counts = run(unlabelled="keep")
    assert (counts.added, counts.unlabelled, counts.images_without_annotation) == (2, 2, [])
    assert labels() == {"1": True, "empty": True, "new": False, "begun": False}
    assert run(unlabelled="keep").unchanged == 5
    if format == "coco":
        edit_coco(folder, lambda plain: plain["images"].append({"id": 8, "file_name": "new.jpg", "annotated": True}))
    else:
        path = folder / {"voc": "Annotations/new.xml", "yolo": "labels/new.txt"}[format]
        path.write_text(xml([]) if format == "voc" else "")
    assert run(unlabelled="keep").updated == 1
    assert labels() == {"1": True, "empty": True, "new": True, "begun": False}, "somebody looked: it is empty"


@pytest.mark.parametrize("blank", ["", "  ", "\u3000", "\u200b"], ids=ascii)
def test_a_name_that_nobody_sees_becomes_no_class(blank: str, tmp_path: Path, run_import: Import) -> None:
    voc, coco, yolo = make_voc(tmp_path / "voc"), make_coco(tmp_path / "coco"), make_yolo(tmp_path / "yolo")
    (voc / "Annotations" / "b" / "1.xml").write_text(xml(BOXES, labels=["S.aureus", blank]))
    counts = run_import("voc", voc)
    assert (counts.added, len(counts.problems)) == (2, 1)
    assert "has no name" in counts.problems[0] or "is not a VOC annotation" in counts.problems[0]
    edit_coco(coco, lambda plain: plain["categories"][1].update(name=blank))
    with pytest.raises(AnnotationError, match="category 1 has the name"):
        run_import("coco", coco)
    (yolo / "data.yaml").write_text(json.dumps({"names": ["S.aureus", blank]}))
    with pytest.raises(AnnotationError, match="class 1 has the name"):
        run_import("yolo", yolo)


def test_classes_that_are_not_in_the_map_are_not_merged_and_merges_are_counted(
    tmp_path: Path, run_import: Import
) -> None:
    folder = make_voc(tmp_path / "voc")
    labels = ["lac+", "lac", "lac-", "1.5 mm"]
    (folder / "Annotations" / "a" / "1.xml").write_text(xml([[10, 10 * n + 1, 5, 5] for n in range(4)], labels))
    (folder / "Annotations" / "b" / "1.xml").write_text(xml(BOXES, ["s_aureus", "E.coli"]))
    counts = run_import("voc", folder, None, **{"lac": 1, "15 mm": 2, "S.aureus": 3, "E.coli": 4})
    assert counts.classes == dict.fromkeys([*labels, "S.aureus", "E.coli"], 1)
    assert counts.renamed == {"s_aureus": "S.aureus"}
    assert counts.unknown_labels == {"lac+": 1, "lac-": 1, "1.5 mm": 1}


def test_boxes_that_are_regions_are_counted(tmp_path: Path, run_import: Import) -> None:
    folder = make_coco(tmp_path)
    edit_coco(folder, lambda plain: [each.update(iscrowd=1) for each in plain["annotations"]])
    counts = run_import("coco", folder)
    assert (counts.boxes, counts.crowds) == (3, 3)
