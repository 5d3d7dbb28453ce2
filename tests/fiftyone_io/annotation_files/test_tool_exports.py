"""Every row of the page "What can be imported" is tried: exports of annotation tools are read as drawn, or refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agar_pipeline.coco.columns import parse_coco
from agar_pipeline.errors import AnnotationError, PipelineError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage, ImportSource, Reading
from agar_pipeline.fiftyone_io.importing.found_images import read_source
from tests.conftest import CHECKOUT
from tests.fiftyone_io.annotation_files.tool_exports import (
    CLASSES,
    READ,
    REFUSED,
    TRUTH,
    Export,
    OwnFormat,
    Places,
    cvat_coco,
    labelme,
    write,
)

PAGE = CHECKOUT / "docs" / "reference" / "imports.md"


def read(format: str, places: Places) -> Reading:
    images_dir, annotations = places
    source = ImportSource(format, str(images_dir), str(annotations) if annotations else None)  # type: ignore[arg-type]
    return read_source(source, lambda done, total: None)[0]


def boxes_of(image: AnnotatedImage) -> list[tuple[str, list[float]]]:
    """In pixels of photos of 100×80, to a hundredth: YOLO has six digits."""
    sides = [
        [share * scale for share, scale in zip(box, (100, 80, 100, 80), strict=True)] for box in image.boxes_rel_xywh
    ]
    return [(label, [round(side, 2) for side in box]) for label, box in zip(image.labels, sides, strict=True)]


@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("export", READ, ids=lambda export: f"{export.tool} {export.what}")
def test_what_a_tool_exports_is_read_as_it_was_drawn(export: Export, tmp_path: Path) -> None:
    reading = read(export.format, export.make(tmp_path))
    assert reading.problems == []
    assert reading.annotations_without_image == []
    found = {export.stem_of(image.name): boxes_of(image) for image in reading.images}
    listed = {export.stem_of(name) for name in reading.images_without_annotation}
    expected = {stem: TRUTH.get(stem, []) for stem in "123" if stem not in export.without}
    assert {stem: boxes for stem, boxes in found.items() if stem not in export.without} == expected
    assert listed >= set(export.without) - found.keys(), "a photo that the export says nothing of is named"


@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("own", REFUSED, ids=lambda own: f"{own.tool} {own.what}")
def test_a_tools_own_format_is_refused_by_its_name_with_what_to_export(own: OwnFormat, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as refusal:
        read(own.format, own.make(tmp_path))
    message = str(refusal.value)
    assert [word for word in own.words if word not in message] == []
    assert str(tmp_path) in message
    assert len(message.splitlines()) <= 3


COCO_EXPORTS = [export for export in READ if export.format == "coco"]


@pytest.mark.parametrize("export", COCO_EXPORTS, ids=lambda export: f"{export.tool} {export.what}")
def test_a_coco_export_says_the_same_to_every_reader(export: Export, tmp_path: Path) -> None:
    """`agar inspect-coco`, `agar evaluate` and `snapshot.source: coco` have a parser of their own."""
    images_dir, annotations = export.make(tmp_path)
    found: dict[str, list[tuple[str, list[float]]]] = {}
    for path in [annotations] if annotations else images_dir.rglob("*.json"):
        columns = parse_coco(path)
        label_of = dict(zip(columns.category_ids.tolist(), columns.class_names, strict=True))
        assert set(label_of.values()) == set(CLASSES), "the root that Roboflow puts above all is no class"
        for image_id, name in zip(columns.image_ids.tolist(), columns.file_names, strict=True):
            rows = columns.annotation_image_ids == image_id
            labels = [label_of[category_id] for category_id in columns.annotation_category_ids[rows].tolist()]
            boxes = columns.boxes_xywh[rows].round(2).tolist()
            found[export.stem_of(name)] = list(zip(labels, boxes, strict=True))
    assert found == {stem: TRUTH.get(stem, []) for stem in "123" if stem not in export.without}


def test_another_tools_json_is_named_by_every_reader(tmp_path: Path) -> None:
    for own in (own for own in REFUSED if own.format == "coco"):
        _, path = own.make(tmp_path / own.tool / own.what)
        assert path is not None
        if path.suffix != ".json":
            continue
        with pytest.raises(AnnotationError) as refusal:
            parse_coco(path)
        assert [word for word in own.words if word not in str(refusal.value)] == []


def test_the_page_has_these_tools_and_no_others() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    table = {(tool.strip(), what.strip(), "`" in by) for tool, what, by in rows if tool.strip() not in ("tool", "---")}
    tried = {(each.tool, each.what, True) for each in READ} | {(each.tool, each.what, False) for each in REFUSED}
    assert table == tried


@pytest.mark.usefixtures("parsers")
def test_what_cvat_notes_beside_a_box_is_kept_and_changes_no_box(tmp_path: Path) -> None:
    """An attribute called `category_id` or `id` is the lab's own; a turned rectangle has its upright box."""
    images = {image.name: image for image in read("coco", cvat_coco(tmp_path)).images}
    turned, plain = images["1.jpg"].attributes
    assert turned["drawn_rotation"] == 90
    assert "rotation" not in turned, "who exports it again must not have it turned again"
    assert turned["occluded"] is True
    assert plain["gram"] == "negative"


def test_a_labelme_shape_that_makes_no_box_or_is_of_another_photo_is_named(tmp_path: Path) -> None:
    images_dir, _ = labelme(tmp_path)
    plain = {"shapes": [], "imagePath": "..\\plates\\2.jpg", "imageHeight": 80, "imageWidth": 100}
    wrong = {
        "another photo of this folder": plain,
        "1.json: shape 1 (a) is of the type point with 1 point, which does not enclose a box: replace it": {
            "shapes": [{"label": "a", "points": [[1, 2]], "shape_type": "point"}]
        },
        "shape 1 (a) is of the type ellipse": {
            "shapes": [{"label": "a", "points": [[2, 2], [4, 2]], "shape_type": "ellipse"}]
        },
        "has the label ' '": {"shapes": [{"label": " ", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"}]},
        "has the point [1, None]": {"shapes": [{"label": "a", "points": [[1, None]], "shape_type": "polygon"}]},
        "is of the type polygon with 1 point": {"shapes": [{"label": "a", "points": [[1, 2]]}]},
        "drawn on 80×100 pixels": {**plain, "imagePath": "1.jpg", "imageHeight": 100, "imageWidth": 80},
        "1.json is not a labelme file, but Label Studio's own JSON: export it there as COCO": [
            {"data": {}, "annotations": []}
        ],
    }
    for words, content in wrong.items():
        write(tmp_path / "1.json", content)
        reading = read("labelme", (images_dir, None))
        assert len(reading.images) == 2
        (problem,) = reading.problems
        assert words in problem
