"""Whatever an annotation file holds, its reader answers with images or with a sentence, never with a traceback."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agar_pipeline.config import is_blank
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Format, ImportSource, Reading
from agar_pipeline.fiftyone_io.importing.found_images import read_source
from agar_pipeline.fiftyone_io.importing.plan import as_detections
from tests.fiftyone_io.annotation_files.test_import_formats import photo, rows, xml

pytestmark = pytest.mark.usefixtures("parsers")
EXAMPLES = int(os.environ.get("AGAR_FUZZ_EXAMPLES", "60"))
"""Of the AGAR reader; the others get a tenth. Set AGAR_FUZZ_EXAMPLES=10000 for a long run."""
SMALL = settings(
    max_examples=max(60, EXAMPLES // 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 5, 10**30, 0.5]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.just("\ud800"), st.just("a\0b"))
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
GOOD_LABEL = {"class": "E.coli", "x": 1, "y": 2, "width": 3, "height": 4}
GOOD_COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 80}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
    "categories": [{"id": 1, "name": "E.coli"}],
}
GOOD_LABELME = {
    "version": "5.5.0",
    "shapes": [
        {"label": "E.coli", "points": [[1, 2], [4, 6]], "shape_type": "rectangle", "group_id": None, "flags": {}}
    ],
    "imagePath": "1.jpg",
    "imageHeight": 80,
    "imageWidth": 100,
}


def read(format: Format, file: str, content: bytes) -> int:
    """The number of images that one annotation file gives; a sentence per image that it does not give."""
    with tempfile.TemporaryDirectory() as folder:
        photo(Path(folder, "1.jpg"))
        Path(folder, "classes.txt").write_text("E.coli\nS.aureus\n")
        Path(folder, file).write_bytes(content)
        source = ImportSource(format, folder, class_map={"E.coli": 1})
        try:
            reading, _ = read_source(source, lambda done, total: None)
        except PipelineError as error:
            refusal = str(error)
        else:
            return require_words(reading, format)
        assert folder in refusal, "a refusal names the file or the folder"
        assert 1 <= len(refusal.splitlines()) <= 3
        return 0


def require_words(reading: Reading, format: Format) -> int:
    """What each image has can be stored, and what is left out is named."""
    assert len(reading.images) + len(reading.problems) + len(reading.annotations_without_image) >= 1
    assert not [problem for problem in reading.problems if "1." not in problem and "coco.json" not in problem]
    for image in reading.images:
        assert len(image.labels) == len(image.boxes_rel_xywh) == len(image.attributes)
        assert not any(is_blank(label) for label in image.labels), "a class without a name"
        if format in ("voc", "labelme", "yolo"):  # the box report judges what COCO and AGAR state themselves
            assert all(width >= 0 and height >= 0 for _, _, width, height in image.boxes_rel_xywh), "corners in reverse"
        bson.encode(as_detections(image))
    return len(reading.images)


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """A good file cut, or with some bytes replaced."""
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, len(good)))
    return good[:start] + draw(st.binary(max_size=6)) + good[end:]


@st.composite
def edited(draw: st.DrawFn, good: Any) -> Any:
    """A good value of which some part is something else."""
    if isinstance(good, dict | list) and good and draw(st.integers(0, 4)):
        copy: Any = good.copy()
        key = draw(st.sampled_from(list(good) if isinstance(good, dict) else range(len(good))))
        copy[key] = draw(edited(good[key]))
        if isinstance(copy, dict) and draw(st.booleans()):
            copy[draw(st.text(max_size=6))] = draw(JSON)
        return copy
    return draw(JSON)


def as_json(plain: Any) -> bytes:
    return json.dumps(plain).encode()


@settings(SMALL, max_examples=EXAMPLES)
@given(
    content=st.one_of(
        st.builds(as_json, edited({"labels": [GOOD_LABEL], "colonies_number": 1})),
        spoilt(as_json({"labels": [GOOD_LABEL]})),
    )
)
@example(content=as_json({"labels": [{**GOOD_LABEL, "x": 1e400}]}))
@example(content=b"[" * 100_000)
def test_agar(content: bytes) -> None:
    read("agar", "1.json", content)


@SMALL
@given(content=st.one_of(st.builds(as_json, edited(GOOD_COCO)), spoilt(as_json(GOOD_COCO))))
@example(content=b"[" * 100_000)
@example(content=b'{"images": [], "annotations": [], "categories": []}')
def test_coco(content: bytes) -> None:
    read("coco", "coco.json", content)


@SMALL
@given(content=st.one_of(st.builds(as_json, edited(GOOD_LABELME)), spoilt(as_json(GOOD_LABELME))))
@example(content=as_json({"shapes": [{"label": "a", "points": [[1e308, 1e308], [-1e308, 0]], "shape_type": "circle"}]}))
@example(content=as_json({"shapes": [{"label": " ", "points": [[1, 1], [2, 2]]}]}))
def test_labelme(content: bytes) -> None:
    read("labelme", "1.json", content)


@SMALL
@given(
    content=st.one_of(
        spoilt(xml([[1, 2, 3, 4]]).encode()),
        st.builds(
            lambda value, name, extra: xml([[value, 2, 3, 4]], labels=[name], extra=extra).encode(errors="replace"),
            NUMBERS,
            st.text(max_size=5),
            st.sampled_from(["", "<object/>", "<size/>", "<object><name><a/></name></object>", "<object>5</object>"]),
        ),
    )
)
@example(content=b"<annotation><object><name>a</name><bndbox>1</bndbox></object></annotation>")
@example(content=b"<a>" * 50_000)
def test_voc(content: bytes) -> None:
    read("voc", "1.xml", content)


@SMALL
@given(
    content=st.one_of(
        spoilt(rows([[1, 2, 3, 4]]).encode()),
        st.lists(st.lists(st.one_of(NUMBERS, st.text(max_size=4)), max_size=9), max_size=4).map(
            lambda lines: "\n".join(" ".join(map(str, line)) for line in lines).encode(errors="replace")
        ),
    )
)
@example(content="\u0663 .5 .5 .1 .1".encode())
@example(content=b"0 .5 .5 .1 .1\x1c1 .5 .5 .1 .1")
def test_yolo(content: bytes) -> None:
    read("yolo", "1.txt", content)


DECLARED = (
    b"path: x\ntrain: [train.txt, x]\nval: ../x/images\nnames: {0: a, 1: b}\nnc: 2\nkpt_shape: [2, 3]\ntask: pose\n"
)


@SMALL
@given(declared=spoilt(DECLARED), listed=spoilt(b"C:\\x\\1.jpg\n./images/1.jpg\n"))
@example(declared=DECLARED.replace(b"[2, 3]", b"[true, 3]"), listed=b"")
@example(declared=b"names: [a]\ntrain: /\nval: ..\ntest: ''", listed=b"/\n.\n..\n\\\\\n")
def test_yolo_declarations_and_lists(declared: bytes, listed: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo(Path(folder, "1.jpg"))
        Path(folder, "1.txt").write_text("0 .5 .5 .2 .2 .5 .5 2 .4 .5 1")
        Path(folder, "data.yaml").write_bytes(declared)
        Path(folder, "train.txt").write_bytes(listed)
        try:
            reading, membership = read_source(ImportSource("yolo", folder), lambda done, total: None)
        except PipelineError:
            return
        assert len(reading.images) + len(reading.problems) == 1
        assert membership.tags.keys() <= {"1.jpg"}


@SMALL
@given(name=spoilt(b"names: {0: a, 1: b}\n"))
@example(name=b"names: {10000000000: a}")
@example(name=b"names: &a [*a]")
def test_yolo_class_names(name: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo(Path(folder, "1.jpg"))
        Path(folder, "1.txt").write_text("0 .5 .5 .1 .1")
        Path(folder, "data.yaml").write_bytes(name)
        try:
            reading, _ = read_source(ImportSource("yolo", folder), lambda done, total: None)
        except PipelineError:
            return
        assert len(reading.images) + len(reading.problems) == 1


@SMALL
@given(content=st.one_of(st.builds(as_json, JSON), st.binary(max_size=30)), suffix=st.sampled_from([".txt", ".json"]))
@example(content=b"[" * 100_000, suffix=".json")
def test_training_lists(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo(Path(folder, "1.jpg"))
        Path(folder, "1.json").write_bytes(as_json({"labels": [GOOD_LABEL]}))
        Path(folder, "training_lists").mkdir()
        Path(folder, "training_lists", f"train{suffix}").write_bytes(content)
        reading, membership = read_source(ImportSource("agar", folder), lambda done, total: None)
        assert len(reading.images) == 1
        assert len(membership.counts) + len(membership.problems) == 1
