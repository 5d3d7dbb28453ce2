"""The pages that people read: safe with any name, honest about what is missing, the same each time."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.errors import ImageFileError
from agar_pipeline.labels.box_rules import concat_findings
from agar_pipeline.reports.bbox_page import write_bbox_page
from agar_pipeline.reports.evaluation_page import WORST_ROW, write_evaluation_page
from agar_pipeline.reports.leaderboard_page import SORT_SCRIPT, write_leaderboard_page
from agar_pipeline.reports.pictures import BoxLayer, draw_boxes, open_photo, picture_strip, picture_with_boxes
from agar_pipeline.reports.shown_plates import choose_plates, group_by_plate
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.score import score_detections

EVIL_CLASS = "<script>alert('$x^^$')</script>"
EVIL_FILE = """plate "1" onerror='x' <b>.png"""
DAMAGED_FILE = "damaged.jpg"


@pytest.fixture
def images_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / EVIL_FILE)
    (folder / DAMAGED_FILE).write_bytes(b"\xff\xd8\xff not a picture")
    return folder


@pytest.fixture
def columns() -> CocoColumns:
    """Three plates: the first with two colonies, the second, whose file is damaged, with one, the third empty."""
    return CocoColumns(
        image_ids=np.array([1, 2, 3]),
        file_names=np.array([EVIL_FILE, DAMAGED_FILE, "gone.jpg"], dtype=object),
        sizes_wh=np.array([[160, 120]] * 3),
        annotation_ids=np.array([1, 2, 3]),
        annotation_image_ids=np.array([1, 1, 2]),
        annotation_category_ids=np.array([1, 2, 1]),
        boxes_xywh=np.array([[10, 10, 30, 30], [100, 60, 90, 20], [5, 5, 0, 9]], dtype=np.float64),
        iscrowd=np.zeros(3, dtype=bool),
        category_ids=np.array([1, 2, 3]),
        class_names=(EVIL_CLASS, "B. subtilis", "E. coli"),
    )


@pytest.fixture
def write_bbox(columns: CocoColumns, images_dir: Path) -> Callable[[Path], object]:
    row = {"part": "val", "x": 100.0, "y": 60.0, "width": 90.0, "height": 20.0}
    findings = pd.DataFrame(
        [
            {
                **row,
                "rule": "out_of_bounds_box",
                "image_id": 1,
                "annotation_id": 2,
                "file_name": EVIL_FILE,
                "value": "<i>",
            },
            {
                **row,
                "rule": "degenerate_box",
                "image_id": 2,
                "annotation_id": 3,
                "file_name": DAMAGED_FILE,
                "value": "0",
            },
            {"rule": "missing_image", "part": "val", "image_id": 3, "file_name": "gone.jpg", "value": "no such file"},
            {"rule": "empty_part", "part": "train", "value": "0 images"},
        ]
    )
    actions = {"out_of_bounds_box": "keep", "degenerate_box": "fail", "missing_image": "fail", "empty_part": "fail"}
    findings = concat_findings([findings]).assign(action=findings["rule"].map(actions).astype("string"))
    report = {
        "images": 3,
        "annotations": 3,
        "categories": 2,
        "category_distribution": {EVIL_CLASS: {"val": 2}, "B. subtilis": {"val": 1}},
        "out_of_bounds_ratio": 1 / 3,
        "findings": {rule: {"count": 1, "action": action} for rule, action in actions.items()},
        "ok": False,
    }
    return lambda path: write_bbox_page(path, report, findings, {"val": columns}, images_dir)


@pytest.fixture
def write_evaluation(columns: CocoColumns, images_dir: Path) -> Callable[[Path], object]:
    one = np.array([1])
    detections = Detections(one, one, np.array([[11.0, 10, 30, 30]]), np.array([0.9]))
    scored = score_detections(columns, detections, CountRule(0.4, "val", "count_error"))
    return lambda path: write_evaluation_page(path, scored, images_dir, EVIL_CLASS, 12)


@pytest.fixture
def write_leaderboard() -> Callable[[Path], object]:
    table = pd.DataFrame(
        {"experiment": [EVIL_CLASS, "demo"], "map": [0.6, None], "mae": [2.0, 1.0], "invented": [1, 2]}
    )
    table = table.astype(dict.fromkeys(table.columns[1:], "Float64"))
    return lambda path: write_leaderboard_page(path, table)


@pytest.fixture(params=["write_bbox", "write_evaluation", "write_leaderboard"])
def write(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    return request.getfixturevalue(request.param)


class Elements(HTMLParser):
    """The tags of a page, and what their attributes load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def svgs_of(html: str) -> str:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    return "".join(base64.b64decode(one).decode() for one in found)


def test_pages_escape_every_name_and_load_nothing(write: Callable[[Path], object], tmp_path: Path) -> None:
    write(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    elements = Elements(html)
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    assert scripts in ([], [SORT_SCRIPT.read_text()]), "only our own, which the page allows by its hash"
    assert not elements.handlers
    assert all(value.startswith(("data:image/", "#image-")) for value in elements.loaded)
    assert "http:" not in html
    assert "https:" not in html
    assert "&lt;script&gt;" in html or "&lt;script&gt;" in svgs_of(html)
    assert "<script" not in svgs_of(html)


def test_pages_are_the_same_bytes_when_written_again(write: Callable[[Path], object], tmp_path: Path) -> None:
    write(tmp_path / "first.html")
    write(tmp_path / "second" / "page.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second" / "page.html").read_bytes()


def test_bbox_page_says_what_blocks_training_and_what_to_do(
    write_bbox: Callable[[Path], object], tmp_path: Path
) -> None:
    write_bbox(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "Training is blocked because of" in html
    assert "1 box without area" in html
    assert "box_policy: {degenerate_box: drop_box}" in html
    assert "missing_image: drop_box" not in html, "a rule that cannot be dropped"
    assert "&lt;i&gt;" in html, "the value of a finding"
    assert "&#34;1&#34; onerror=&#39;x&#39; &lt;b&gt;.png" in html


def test_an_unreadable_picture_leaves_a_note(
    write_bbox: Callable[[Path], object], write_evaluation: Callable[[Path], object], tmp_path: Path
) -> None:
    for write in (write_bbox, write_evaluation):
        write(tmp_path / "page.html")
        html = (tmp_path / "page.html").read_text()
        assert re.search(rf"No picture: [^<]*{DAMAGED_FILE} cannot be shown", html)
        assert "data:image/jpeg" in html, "the readable picture is there"


def test_a_model_without_a_score_has_its_reason_once_a_section_and_no_empty_plots(
    columns: CocoColumns, images_dir: Path, tmp_path: Path
) -> None:
    one = np.array([1])
    cut = Detections(one, one, np.array([[11.0, 10, 30, 30]]), np.array([0.9]), complete_from=0.5)
    scored = score_detections(columns, cut, CountRule(0.4, "val", "count_error"))
    pictures = write_evaluation_page(tmp_path / "page.html", scored, images_dir, "cut", 12, "why")
    html = (tmp_path / "page.html").read_text()
    assert html.count('<dd class="value null">–<sup>1</sup></dd>') == 12, "every tile"
    assert html.count('<td class="n null">–<sup>1</sup></td>') >= 30
    assert html.count("not computed: the model reaches its limit") == 3, "tiles, densities, classes"
    assert "Counted against annotated" not in html
    assert "Precision and recall" not in html
    assert "Which class is taken for which" not in html
    assert list(pictures) == [WORST_ROW]


def test_the_table_of_many_classes_has_upright_titles(columns: CocoColumns, images_dir: Path, tmp_path: Path) -> None:
    for more, upright in ((0, False), (4, True)):
        ids, names = np.arange(1, 4 + more), (*columns.class_names, *(f"class {i}" for i in range(more)))
        many = dataclasses.replace(columns, category_ids=ids, class_names=names)
        write_evaluation_page(
            tmp_path / "page.html", score_detections(many, Detections.concatenate([]), CountRule()), images_dir, "n", 0
        )
        assert ('<table class="confusion upright">' in (tmp_path / "page.html").read_text()) is upright


def test_evaluation_page_says_why_a_metric_is_null(write_evaluation: Callable[[Path], object], tmp_path: Path) -> None:
    write_evaluation(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "not computed: no annotation over 96² px" in html
    assert "not computed: no annotation of this class" in html
    assert "88.9 %" in html, "smape is per cent already: 200 · (1/3 + 1 + 0) / 3"


def test_pages_can_be_written_without_any_image(images_dir: Path, tmp_path: Path) -> None:
    ids, boxes = np.zeros(0, np.int64), np.zeros((0, 4))
    names = np.zeros(0, object)
    empty = CocoColumns(ids, names, np.zeros((0, 2), np.int64), ids, ids, ids, boxes, np.zeros(0, bool), ids, ())
    report = {"images": 0, "annotations": 0, "categories": 0, "out_of_bounds_ratio": 0.0, "findings": {}, "ok": True}
    write_bbox_page(tmp_path / "bbox.html", report, concat_findings([]), {"val": empty}, images_dir)
    nothing = score_detections(empty, Detections.concatenate([]), CountRule())
    write_evaluation_page(tmp_path / "evaluation.html", nothing, images_dir, "none", 12)
    write_leaderboard_page(tmp_path / "leaderboard.html", pd.DataFrame({"experiment": []}))
    assert "could not be scored" in (tmp_path / "evaluation.html").read_text()
    assert "This pipeline lists no experiment" in (tmp_path / "leaderboard.html").read_text()


def test_open_photo_turns_boxes_and_picture_the_same_way(tmp_path: Path) -> None:
    stored = np.zeros((100, 200, 3), dtype=np.uint8)
    stored[:40, :40] = 255  # top left as stored is top right when turned by 90° clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    photo, scale = open_photo(tmp_path / "turned.jpg", 50)
    assert photo.size == (25, 50)
    assert scale == 0.25
    assert cast(tuple[int, ...], photo.getpixel((22, 2))) > (200, 200, 200)
    assert cast(tuple[int, ...], photo.getpixel((2, 2))) < (50, 50, 50)


def test_draw_boxes_puts_lines_where_the_box_is_and_skips_what_is_no_box() -> None:
    photo, scale = open_photo(np.zeros((400, 400, 3), dtype=np.uint8), 200)
    boxes_xywh = np.array([[100, 100, 200, 100], [np.nan, 0, 1, 1], [0, 0, np.inf, 1], [390, 10, 1e12, 5]])
    drawn = np.asarray(draw_boxes(photo, scale, [BoxLayer(boxes_xywh, "prediction")]))
    rows, columns = np.nonzero(drawn[20:].any(axis=2))
    assert (rows.min() + 20, rows.max() + 20, columns.min(), columns.max()) == (50, 100, 50, 150)


def test_pictures_keep_to_their_size_even_of_noise(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    boxes_xywh = np.array([[10.0, 10, 300, 300]])
    assert len(picture_with_boxes(tmp_path / "noise.png", [BoxLayer(boxes_xywh, "truth")], max_side_px=1600)) <= 200_000
    strip = picture_strip([(tmp_path / "noise.png", [BoxLayer(boxes_xywh, "truth")]), (tmp_path / "gone.png", [])] * 5)
    assert len(strip) <= 150_000
    assert Image.open(io.BytesIO(base64.b64decode(strip.split(",")[1]))).format == "JPEG"
    with pytest.raises(ImageFileError, match=r"gone\.png"):
        picture_with_boxes(tmp_path / "gone.png", [])


def test_the_worst_plates_come_first_and_no_box_is_counted_twice(columns: CocoColumns) -> None:
    boxes = np.array([[10.0, 10, 30, 30]] * 4 + [[100, 60, 90, 20]])
    image_ids, category_ids = np.ones(5, np.int64), np.array([1, 1, 1, 1, 1])
    detections = Detections(image_ids, category_ids, boxes, np.array([0.9, 0.8, 0.7, 0.1, 0.6]))
    scored = score_detections(columns, detections, CountRule(0.5, "val"))
    first, second, third = plates = group_by_plate(scored)
    assert (first.predicted, first.annotated, first.error) == (4, 2, 2)
    assert {kind: len(boxes) for kind, boxes in first.detections_xywh.items() if len(boxes)} == {
        "true_positive": 1,
        "duplicate": 2,
        "wrong_class": 1,
    }
    assert (second.error, third.error, third.matched_share) == (-1, 0, 1.0)
    worst, ordinary = choose_plates(plates, 3)
    assert [plate.image_id for plate in worst + ordinary] == [1, 2, 3]
    assert choose_plates(plates, 0) == ([], [])
