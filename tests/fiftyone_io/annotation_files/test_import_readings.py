"""Annotation files of other machines and tools: read as they mean it, or refused with the reason, by every reader."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agar_pipeline.coco.columns import parse_coco
from agar_pipeline.coco.detections import read_detections
from agar_pipeline.config.categories import class_map_of_files
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Format, ImportSource, Reading
from agar_pipeline.fiftyone_io.annotation_files.part_tags import Membership
from agar_pipeline.fiftyone_io.importing.found_images import read_source
from tests.fiftyone_io.annotation_files.test_import_formats import (
    BOXES,
    LABELS,
    edit_coco,
    make_coco,
    make_voc,
    make_yolo,
    photo,
    rows,
    xml,
)

pytestmark = pytest.mark.usefixtures("parsers")


def read_all(format: Format, folder: Path, annotations: Path | None = None, **more: Any) -> tuple[Reading, Membership]:
    source = ImportSource(format, str(folder), str(annotations) if annotations else None, **more)
    return read_source(source, lambda done, total: None)


def read(format: Format, folder: Path, annotations: Path | None = None, **more: Any) -> Reading:
    return read_all(format, folder, annotations, **more)[0]


def boxes_px(reading: Reading, name: str = "1.jpg", size_wh: tuple[int, int] = (100, 80)) -> list[list[float]]:
    (image,) = [each for each in reading.images if each.name == name]
    return [[round(s * side, 3) for s, side in zip(box, size_wh * 2, strict=True)] for box in image.boxes_rel_xywh]


# Rows of YOLO


def yolo(folder: Path, text: str, declared: str = "", names: str = "[a, b]") -> Path:
    photo(folder / "1.jpg")
    (folder / "1.txt").write_text(text)
    (folder / "data.yaml").write_text(f"names: {names}\n{declared}\n")
    return folder


POSE = "0 .5 .5 .2 .4 .45 .4 2 .55 .6 1"
PLAIN_POSE = "0 .5 .5 .2 .4 .45 .4 .55 .6 .5 .5"
MEANT = {
    "keypoints with visibility": (POSE, "kpt_shape: [2, 3]"),
    "keypoints without it": (PLAIN_POSE, "kpt_shape: [3, 2]"),
    "a box beside them": (f"{POSE}\n1 .5 .5 .2 .4", "kpt_shape: [2, 3]"),
}


@pytest.mark.parametrize("case", MEANT)
def test_keypoints_that_are_declared_leave_the_box(case: str, tmp_path: Path) -> None:
    text, declared = MEANT[case]
    reading = read("yolo", yolo(tmp_path, text, declared))
    assert reading.problems == []
    assert boxes_px(reading) == [[40, 24, 20, 32]] * len(text.splitlines())
    assert ["keypoints" in note for note in reading.notes] == [True]


POLYGONS = {
    "declared": (PLAIN_POSE, "task: segment", [20, 32, 35, 16]),
    "a triangle": ("0 .1 .1 .3 .1 .2 .3", "", [10, 8, 20, 16]),
    "a box that leaves its picture": ("0 .9 .4 1.1 .5 1 .7 .8 .6", "", [80, 32, 30, 24]),
    "a rotated box": ("0 .5 .4 .6 .5 .5 .6 .4 .5", "", [40, 32, 20, 16]),
    "of several lengths": ("0 .5 .4 .6 .5 .55 .6 .45 .6 .4 .5\n0 .5 .4 .6 .5 .5 .6 .4 .5", "", [40, 32, 20, 16]),
}


@pytest.mark.parametrize("case", POLYGONS)
def test_polygons_become_the_boxes_around_them(case: str, tmp_path: Path) -> None:
    text, declared, expected = POLYGONS[case]
    reading = read("yolo", yolo(tmp_path, text, declared))
    assert reading.problems == []
    assert boxes_px(reading)[-1] == expected


REFUSED = {
    "two readings": (
        PLAIN_POSE,
        "",
        r"1\.txt: row 1 has two possible meanings: the 5 points of a polygon, or a box with 3 key.*: declare kpt_shape",
    ),
    "a track's number": ("0 .5 .5 .1 .1 .9 1", "", "has two possible meanings.*the number of a track"),
    "keypoints, not declared": (POSE, "", r"declare its keypoints in data.yaml \(kpt_shape: \[3, 2\] or \[2, 3\]\)"),
    "another number than declared": (
        POSE,
        "kpt_shape: [4, 3]",
        r"has 11 columns, but kpt_shape \[4, 3\] of .* needs 17",
    ),
    "an angle": (
        "0 .5 .5 .1 .1 1.57\n0 .5 .5 .1 .1 .5",
        "",
        "a confidence of 0 to 1 or an angle; the value 1.57 of one row",
    ),
    "a negative side": ("0 .5 .5 -.1 .1", "", "has a width and height of -0.1 and 0.1, but a side cannot be negative"),
    "a polygon where boxes are declared": ("0 .1 .1 .3 .1 .2 .3", "task: detect", "declares task: detect"),
    "pose without a shape": (PLAIN_POSE, "task: pose", "declares task: pose without kpt_shape: add kpt_shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_fits_no_reading_or_two_is_refused(case: str, tmp_path: Path) -> None:
    text, declared, message = REFUSED[case]
    reading = read("yolo", yolo(tmp_path, text, declared))
    assert reading.images == []
    assert re.search(message, reading.problems[0]), reading.problems


def test_what_data_yaml_says_must_agree_with_itself(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"data\.yaml has nc: 3, but `names` lists 2 classes"):
        read("yolo", yolo(tmp_path, "0 .5 .5 .1 .1", "nc: 3"))
    with pytest.raises(AnnotationError, match=r"data.yaml: kpt_shape=17 must be \[number"):
        read("yolo", yolo(tmp_path, "0 .5 .5 .1 .1", "kpt_shape: 17"))


NOT_YAML = {
    "names twice": ("[a, b]", "names: [b, a]", r"line 2, column 1: found duplicate key names"),
    "a number twice": ("{0: a, 1: b, 0: c}", "", r"line 1, column 21: found duplicate key 0"),
    "a part twice": ("[a, b]", "train: one\ntrain: two", r"line 3, column 1: found duplicate key train"),
    "a tab": ("\n\t- a", "", r"line 2, column 1: found a tab in '- a'\nindent with blanks"),
    "a name with a colon": ("\n  0: E: coli", "", r"in '0: E: coli'\nput the text in quotes if it has `: ` in it"),
    "a bracket left open": ("[a, b", "nc: 2", r"close the bracket"),
}


@pytest.mark.parametrize("case", NOT_YAML)
def test_a_data_yaml_that_is_no_yaml_is_told_by_its_place(case: str, tmp_path: Path) -> None:
    names, declared, words = NOT_YAML[case]
    with pytest.raises(AnnotationError, match=words) as caught:
        read("yolo", yolo(tmp_path, "0 .5 .5 .1 .1", declared, names))
    assert str(caught.value).startswith(f"{tmp_path / 'data.yaml'} is not YAML")
    assert str(caught.value).count("\n") == 1
    assert (caught.value.next_step or "").endswith(", or give another file with --annotations")


# Links of COCO


def relink(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def spoil(plain: dict[str, Any]) -> None:
        for entry in plain["annotations"]:
            change(entry)

    return spoil


def rename_key(entry: dict[str, Any], key: str, other: str) -> None:
    entry[other] = entry.pop(key)


LINKS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a number with a point": (
        relink(lambda e: e.update(image_id=float(e["image_id"]))),
        r"image_id of an annotation is 0.0 \(a number with a point\), but the ids are numbers, such as 0 .*: 3 of 3\)",
    ),
    "text against numbers": (
        relink(lambda e: e.update(image_id=str(e["image_id"]))),
        r"image_id of an annotation is '0' \(text\), but the ids are numbers",
    ),
    "item_id": (
        relink(lambda e: rename_key(e, "image_id", "item_id")),
        "has 3 of 3 annotations without image_id, .*item_id",
    ),
    "null": (relink(lambda e: e.update(image_id=None)), r"image_id of an annotation is None \(null\)"),
    "the photo's name": (
        relink(lambda e: e.update(image_id="a/1.jpg")),
        r"image_id of an annotation is 'a/1.jpg' \(text\)",
    ),
    "an unlisted image": (
        relink(lambda e: e.update(image_id=e["image_id"] + 50)),
        r"has 3 of 3 annotations of images that it does not list; the first .* 0 with the image_id 50 \(a number\)",
    ),
    "a category with a point": (
        relink(lambda e: e.update(category_id=float(e["category_id"]))),
        r"category_id of an annotation is 0.0 \(a number with a point\)",
    ),
}


@pytest.mark.parametrize("case", LINKS)
def test_boxes_that_cannot_be_placed_refuse_the_file_in_one_line(case: str, tmp_path: Path) -> None:
    spoil, message = LINKS[case]
    folder = make_coco(tmp_path)
    edit_coco(folder, spoil)
    with pytest.raises(AnnotationError, match=message) as caught:
        read("coco", folder)
    assert (caught.value.where or "").startswith(str(folder / "coco.json"))
    assert "nothing is imported" in caught.value.what
    assert caught.value.next_step
    assert "\n" not in caught.value.in_one_line


def test_a_list_of_boxes_under_another_name_makes_no_empty_plate(tmp_path: Path) -> None:
    folder = make_coco(tmp_path / "coco")
    edit_coco(folder, lambda plain: plain.update(objects=plain["annotations"], annotations=[]))
    for reader in (lambda: read("coco", folder), lambda: parse_coco(folder / "coco.json")):
        with pytest.raises(AnnotationError, match="no annotations, and boxes in 'objects'"):
            reader()
    photo(tmp_path / "1.jpg")
    plain = {"colonies_number": 0, "annotations": [{"class": "a", "x": 1, "y": 2, "width": 3, "height": 4}]}
    (tmp_path / "1.json").write_text(json.dumps(plain))
    (problem,) = read("agar", tmp_path).problems
    assert "has no labels, but 'annotations'" in problem


# VOC


CONTRADICTIONS = {
    "its name": "<filename>2.jpg</filename>",
    "its name without a suffix": "<filename>2</filename>",
    "a path of Windows alone": "<path>C:\\photos\\2.jpg</path>",
    "its name in another case and format": "<filename>2.PNG</filename>",
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_an_xml_file_that_names_another_photo_which_is_there_is_refused(case: str, tmp_path: Path) -> None:
    for stem in ("1", "2"):
        photo(tmp_path / f"{stem}.jpg")
    (tmp_path / "1.xml").write_text(xml(BOXES, extra=CONTRADICTIONS[case]))
    (tmp_path / "2.xml").write_text(xml(BOXES[:1], extra="<filename>taken away.jpg</filename><path>/gone/1.jpg</path>"))
    reading = read("voc", tmp_path)
    assert [image.name for image in reading.images] == ["2.jpg"], "a photo that is gone was renamed"
    (problem,) = reading.problems
    assert "1.jpg by its own name, and to " in problem
    assert "2.jpg by its <filename> '2" in problem


def test_an_xml_file_that_names_the_photo_of_another_folder_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        photo(tmp_path / folder / "1.jpg")
        extra = "<filename>b/1.jpg</filename><path>/old/place/1.jpg</path>"
        (tmp_path / folder / "1.xml").write_text(xml(BOXES, extra=extra))
    reading = read("voc", tmp_path)
    assert [image.name for image in reading.images] == ["b/1.jpg"]
    assert "a/1.jpg by its own name, and to " in reading.problems[0]


VOC_OBJECTS = {
    "empty": ("<object/>", "1.xml: object 1 is empty, but must hold a name and a bndbox: correct it"),
    "without a box": ("<object><name>a</name><polygon/></object>", "object 1 has no bndbox; it holds name, polygon"),
    "a corner missing": (
        "<object><name>a</name><bndbox><xmin>1</xmin></bndbox></object>",
        "object 1 has no ymin in its bndbox",
    ),
    "corners in reverse order": (
        "<object><name>a</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>5</ymax></bndbox></object>",
        "object 1 has xmin 9 beyond xmax 2: its corners are in reverse order, or are width and height",
    ),
    "a size that is none": (
        "<size><width>wide</width></size>",
        "1.xml has the width 'wide' in its size, which is not a number of pixels",
    ),
}


@pytest.mark.parametrize("case", VOC_OBJECTS)
def test_an_object_that_is_none_is_named(case: str, tmp_path: Path) -> None:
    text, message = VOC_OBJECTS[case]
    photo(tmp_path / "1.jpg")
    (tmp_path / "1.xml").write_text(f"<annotation>{text}</annotation>")
    (problem,) = read("voc", tmp_path).problems
    assert message in problem


# Text


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big end first": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_reader_takes_every_encoding(encoding: str, tmp_path: Path) -> None:
    """Each text file in its encoding: XML, label rows, names, YAML, lists, COCO for import, inspection and classes."""
    encode = ENCODINGS[encoding]
    voc, yolo_set, coco = make_voc(tmp_path / "voc"), make_yolo(tmp_path / "yolo"), make_coco(tmp_path / "coco")
    (yolo_set / "train.txt").write_text("images/a/1.jpg\n")
    (voc / "Annotations" / "a" / "1.xml").write_text('<?xml version="1.0" encoding="utf-8"?>\n' + xml(BOXES))
    agar = tmp_path / "agar"
    photo(agar / "1.jpg")
    label = {"class": "kolonia ą", "x": 10, "y": 10, "width": 20, "height": 10}
    (agar / "1.json").write_text(json.dumps({"labels": [label]}, ensure_ascii=False))
    (agar / "training_lists").mkdir()
    (agar / "training_lists" / "small.txt").write_text("1\n")
    for path in tmp_path.rglob("*.*"):
        if path.suffix in (".xml", ".txt", ".yaml", ".json") and path.stat().st_size:
            path.write_bytes(encode(path.read_text()))
    places: list[tuple[Format, Path]] = [("voc", voc), ("coco", coco), ("yolo", yolo_set / "images")]
    for format, folder in places:
        reading = read(format, folder)
        assert (reading.problems, sum(len(image.labels) for image in reading.images)) == ([], 3)
    reading, membership = read_all("agar", agar)
    assert (reading.images[0].labels, membership.tags) == (["kolonia ą"], {"1.jpg": {"small"}})
    assert parse_coco(coco / "coco.json").class_names == tuple(LABELS)
    assert class_map_of_files([coco / "coco.json"]) == {label: i for i, label in enumerate(LABELS, start=1)}
    (yolo_set / "data.yaml").unlink()
    (yolo_set / "classes.txt").write_bytes(encode("\n".join(LABELS) + "\n"))
    assert {label for image in read("yolo", yolo_set / "images").images for label in image.labels} == set(LABELS)


def test_xml_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    photo(tmp_path / "1.jpg")
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + xml(BOXES, labels=["Käse", "b"])
    (tmp_path / "1.xml").write_bytes(text.encode("latin-1"))
    assert read("voc", tmp_path).images[0].labels == ["Käse", "b"]


def test_text_in_an_encoding_that_cannot_be_told_is_refused_with_the_byte(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "0 .5 .5 .1 .1")
    (folder / "data.yaml").write_bytes("names: [Käse]".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"data.yaml is not text in UTF-8 or UTF-16 \(byte 0xe4 at 9\)"):
        read("yolo", folder)


def test_text_ids_mean_the_same_to_every_reader(tmp_path: Path) -> None:
    folder = make_coco(tmp_path)

    def as_texts(plain: dict[str, Any]) -> None:
        for entry in plain["images"]:
            entry["id"] = f"plate {entry['id']}"
        for entry in plain["categories"]:
            entry["id"] = str(entry["id"])
        for entry in plain["annotations"]:
            entry |= {"id": f"{entry['id']}", "image_id": f"plate {entry['image_id']}"}
            entry["category_id"] = str(entry["category_id"])

    before = parse_coco(folder / "coco.json")
    edit_coco(folder, as_texts)
    after = parse_coco(folder / "coco.json")
    assert after.annotation_image_ids.tolist() == [i + 1 for i in before.annotation_image_ids.tolist()]
    assert after.annotation_category_ids.tolist() == before.annotation_category_ids.tolist()
    assert sum(len(image.labels) for image in read("coco", folder).images) == 3
    assert class_map_of_files([folder / "coco.json"]) == {label: i for i, label in enumerate(LABELS, start=1)}
    box = {"image_id": "plate 1", "category_id": "1", "bbox": [1, 2, 3, 4], "score": 0.5}
    (folder / "results.json").write_text(json.dumps([box]))
    detections = read_detections(folder / "results.json", folder / "coco.json")
    assert (detections.image_ids.tolist(), detections.category_ids.tolist()) == ([2], [1])
    (folder / "results.json").write_text(json.dumps([{**box, "image_id": "plate 7"}]))
    with pytest.raises(
        AnnotationError, match=r"results.0..image_id is 'plate 7', but must be an id of the annotation file"
    ):
        read_detections(folder / "results.json", folder / "coco.json")
    (folder / "results.json").unlink()
    edit_coco(folder, lambda plain: plain["annotations"][1].update(image_id=1))
    for reader in (lambda: read("coco", folder), lambda: parse_coco(folder / "coco.json")):
        with pytest.raises(AnnotationError, match=r"image_id .*is 1 \(a number\), but the ids are texts"):
            reader()


# Names


def respell(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def spoil(plain: dict[str, Any]) -> None:
        for entry in plain["images"]:
            entry["file_name"] = change(entry["file_name"])

    return spoil


NAMES: dict[str, tuple[Callable[[str], str], str]] = {
    "slashes of Windows": (lambda name: name.replace("/", "\\"), "2 of 2 names match with / in place of \\"),
    "URL-encoded": (lambda name: name.replace("/", "%2F"), "2 of 2 names match after URL-decoding"),
    "HTML": (lambda name: name.replace("/", "&#47;"), "2 of 2 names match after HTML-decoding"),
    "blanks": (lambda name: f" {name} ", "2 of 2 names match without blanks at both ends"),
    "a folder too many": (lambda name: f"export/{name}", "2 of 2 names match without their first folder"),
    "another case": (lambda name: name.upper(), "2 of 2 names match without regard to upper and lower case"),
    "another suffix": (lambda name: name.replace(".jpg", ".PNG"), "2 of 2 names match with another suffix"),
    "Label Studio's uploads": (
        lambda name: name.replace("/", "/90fbb0c7-"),
        "2 of 2 names match without the eight digits that Label Studio puts",
    ),
    "Label Studio's own disk": (
        lambda name: f"data/local-files/?d={name}".replace("a/", "a%5C"),
        "2 of 2 names match after URL-decoding",
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_lead_nowhere_say_which_spelling_fits(case: str, tmp_path: Path) -> None:
    from agar_pipeline.photos.missing_photos import explain_missing

    change, words = NAMES[case]
    folder = make_coco(tmp_path)
    edit_coco(folder, lambda plain: plain["images"].pop())
    edit_coco(folder, respell(change))
    with pytest.raises(DatasetError) as caught:
        read("coco", folder)
    assert words in str(caught.value)
    names = [entry["file_name"] for entry in json.loads((folder / "coco.json").read_text())["images"]]
    assert words in (explain_missing(folder, names, names) or ""), "`agar inspect-coco` says the same"
    edit_coco(folder, lambda plain: plain["images"].append({"id": 9, "file_name": "empty.jpg"}))
    notes = read("coco", folder).notes
    assert case == "another suffix" or [words in note for note in notes] == [True], "where some are there, too"


# Photos that EXIF turns


def test_turned_photos_are_told_in_the_words_of_a_snapshot(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.new("RGB", (100, 80)).save(tmp_path / "1.jpg", exif=tag)
    plain = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 10]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(plain))
    (problem,) = read("coco", tmp_path).problems
    assert "1 photo is turned by a quarter by EXIF data, but the COCO file states the size as stored" in problem
    assert "'1.jpg'" in problem
    assert "give --exif stored" in problem
    stored = read("coco", tmp_path, exif="stored")
    assert stored.problems == []
    assert boxes_px(stored, size_wh=(80, 100)) == [[70, 0, 10, 20]], "turned with its photo"
    assert "as stored (--exif)" in stored.notes[0]
    plain["images"][0] |= {"width": 80, "height": 100}
    path.write_text(json.dumps(plain))
    assert boxes_px(read("coco", tmp_path), size_wh=(80, 100)) == [[0, 0, 20, 10]]
    (problem,) = read("coco", tmp_path, exif="refuse").problems
    assert "1 photo is turned by EXIF data: '1.jpg': give --exif displayed or --exif stored" in problem
    files: list[tuple[Format, str, str]] = [
        ("voc", "1.xml", xml([[0, 0, 20, 10]], labels=["a"])),
        ("yolo", "1.txt", rows([[0, 0, 20, 10]])),
    ]
    for format, file, text in files:
        (tmp_path / file).write_text(text)
        (tmp_path / "classes.txt").write_text("a\n")
        assert boxes_px(read(format, tmp_path, exif="stored"), size_wh=(80, 100)) == [[70, 0, 10, 20]], format


def test_sizes_that_are_written_in_another_way_are_held_against_the_photo_too(tmp_path: Path) -> None:
    folder = make_coco(tmp_path)
    edit_coco(folder, lambda plain: plain["images"][0].update(width=200.0, height=160.0))
    edit_coco(folder, lambda plain: plain["images"][1].update(width=100.0, height=80.0))
    edit_coco(folder, lambda plain: plain["images"][2].update(width="100"))
    reading = read("coco", folder)
    assert [image.name for image in reading.images] == ["b/1.jpg"]
    assert "drawn on 200×160 pixels, but the image has 100×80" in reading.problems[0]
    assert "states the size '100' (text) of the image, which is not a whole number" in reading.problems[1]


# Roboflow, and parts


def test_roboflow_with_a_file_in_each_part_s_folder(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "plates", "supercategory": "none"},
        {"id": 1, "name": "a", "supercategory": "plates"},
        {"id": 2, "name": "b", "supercategory": "plates"},
    ]
    for folder, names in (("train", ["1.jpg", "2.jpg"]), ("valid", ["1.jpg"])):
        for name in names:
            photo(tmp_path / folder / name)
        images = [{"id": i, "file_name": name, "width": 100, "height": 80} for i, name in enumerate(names)]
        box = {"id": 0, "image_id": 0, "category_id": 2, "bbox": [1, 2, 30, 40], "iscrowd": 0}
        plain = {"images": images, "annotations": [box], "categories": categories}
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(plain))
    reading, membership = read_all("coco", tmp_path)
    assert {image.name: image.labels for image in reading.images} == {
        "train/1.jpg": ["b"],
        "train/2.jpg": [],
        "valid/1.jpg": ["b"],
    }
    assert membership.tags == {"train/1.jpg": {"train"}, "train/2.jpg": {"train"}, "valid/1.jpg": {"val"}}
    files = sorted(tmp_path.glob("*/*.json"))
    assert class_map_of_files(files) == {"a": 1, "b": 2}, "the root has no boxes: it is no class"
    assert parse_coco(files[0]).class_names == ("a", "b")
    plain["annotations"][0]["category_id"] = 0
    files[0].write_text(json.dumps(plain))
    assert class_map_of_files(files) == {"plates": 1, "a": 2, "b": 3}, "one with boxes is"


def test_the_layout_of_coco_itself(tmp_path: Path) -> None:
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for name in ("train2017", "val2017"):
        photo(folder / name / "1.jpg")
        image = {"id": 1, "file_name": "1.jpg", "width": 100, "height": 80}
        plain = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
        (folder / "annotations" / f"instances_{name}.json").write_text(json.dumps(plain))
    _, membership = read_all("coco", folder)
    assert membership.tags == {"train2017/1.jpg": {"train"}, "val2017/1.jpg": {"val"}}


def parts_of(folder: Path, images: Path, files: dict[str, str]) -> tuple[dict[str, set[str]], Membership]:
    """Tag → image names, of 1.jpg and 2.jpg in `images`, and of 3.jpg in each folder of a part."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in (*images.rglob("*.jpg"),):
        path.with_suffix(".txt").write_text("0 .5 .5 .1 .1")
    _, membership = read_all("yolo", images)
    tags: dict[str, set[str]] = {}
    for name, (tag,) in membership.tags.items():
        tags.setdefault(tag, set()).add(name)
    return tags, membership


NAMES_YAML = "names: [a]\n"
PARTS: dict[str, dict[str, str]] = {
    "lists of data.yaml": {
        "data.yaml": NAMES_YAML + "train: train.txt\nval: lists/val.txt",
        "train.txt": "./images/x/1.jpg\nimages/x/2.jpg\n",
        "lists/val.txt": "images/y/1.jpg",
    },
    "lists of Windows": {
        "data.yaml": NAMES_YAML + "path: C:\\data\\set\ntrain: C:\\data\\set\\train.txt\nval: val.txt",
        "train.txt": "C:\\data\\set\\images\\x\\1.jpg\r\nC:\\data\\set\\images\\x\\2.jpg\r\n",
        "val.txt": "C:\\data\\set\\images\\y\\1.jpg",
    },
    "darknet": {
        "obj.names": "a\n",
        "obj.data": "classes = 1\ntrain  = data/train.txt\nvalid  = data/test.txt\nnames = data/obj.names\n",
        "train.txt": "data/images/x/1.jpg\ndata/images/x/2.jpg\n",
        "test.txt": "data/images/y/1.jpg\n",
    },
    "folders of data.yaml": {"data.yaml": NAMES_YAML + "path: ../set\ntrain: images/x\nval:\n  - images/y\n"},
    "lists beside the images": {
        "data.yaml": NAMES_YAML,
        "train.txt": "images/x/1.jpg\nimages/x/2.jpg\n",
        "valid2017.txt": "images/y/1.jpg\n",
    },
}


@pytest.mark.parametrize("case", PARTS)
@pytest.mark.parametrize("inner", ["", "images"], ids=["from the top", "from images/"])
def test_parts_that_yolo_files_give_become_tags(case: str, inner: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("x/1.jpg", "x/2.jpg", "y/1.jpg"):
        photo(folder / "images" / name)
    start = "images/" if not inner else ""
    tags, _ = parts_of(folder, folder / inner, PARTS[case])
    assert tags == {"train": {f"{start}x/1.jpg", f"{start}x/2.jpg"}, "val": {f"{start}y/1.jpg"}}


def test_parts_by_the_names_of_folders_and_contradictions(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("train/images/1.jpg", "train/images/2.jpg", "valid/images/1.jpg"):
        photo(folder / name)
    tags, membership = parts_of(
        folder, folder, {"data.yaml": NAMES_YAML + "train: ../train/images\nval: ../no/images\n"}
    )
    assert tags == {"train": {"train/images/1.jpg", "train/images/2.jpg"}}
    assert [(count["tag"], count["unknown"]) for count in map(vars, membership.counts)] == [
        ("train", []),
        ("val", ["../no/images"]),
    ]
    tags, _ = parts_of(folder, folder, {"data.yaml": NAMES_YAML})
    assert {tag: len(names) for tag, names in tags.items()} == {"train": 2, "val": 1}, "by the folders alone"
    tags, membership = parts_of(folder, folder, {"data.yaml": NAMES_YAML + "train: train\nval: [train, valid]\n"})
    assert tags == {"val": {"valid/images/1.jpg"}}, "what is in two parts is in none"
    assert len(vars(membership.counts[0])["ambiguous"]) == 2


def test_parts_of_voc(tmp_path: Path) -> None:
    folder = make_voc(tmp_path / "VOC2012")
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a/1\nempty\n")
    (folder / "ImageSets" / "Main" / "val.txt").write_text("b/1\n")
    _, membership = read_all("voc", folder)
    assert membership.tags == {
        "JPEGImages/a/1.jpg": {"train"},
        "JPEGImages/empty.jpg": {"train"},
        "JPEGImages/b/1.jpg": {"val"},
    }
    for name in ("train/1", "valid/2"):
        photo(tmp_path / "roboflow" / f"{name}.jpg")
        (tmp_path / "roboflow" / f"{name}.xml").write_text(xml(BOXES))
    _, membership = read_all("voc", tmp_path / "roboflow")
    assert membership.tags == {"train/1.jpg": {"train"}, "valid/2.jpg": {"val"}}, "by the names of the folders"


def test_absolute_names_of_coco_are_refused_with_what_would_fit(tmp_path: Path) -> None:
    folder = make_coco(tmp_path)
    edit_coco(folder, respell(lambda name: f"/home/me/{name}"))
    reading = read("coco", folder)
    assert (reading.images, len(reading.problems)) == ([], 3)
    assert "3 of 3 names match without their first 2 folders" in reading.notes[0]
