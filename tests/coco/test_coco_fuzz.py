"""Any file at all: the COCO reader answers exactly, or refuses in one line that names the place."""

from __future__ import annotations

import copy
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agar_pipeline.coco.columns import CocoColumns, parse_coco
from agar_pipeline.config import BOX_POLICY_DEFAULTS
from agar_pipeline.errors import AnnotationError
from agar_pipeline.labels.box_rules import find_box_findings, find_box_rows
from agar_pipeline.labels.findings import find_all, judge

EXAMPLES = int(os.environ.get("AGAR_FUZZ_EXAMPLES", "250"))
"""Set AGAR_FUZZ_EXAMPLES=10000 for a long run."""
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 1000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**400, -(2**63), -(2**63) - 1, 1e308, 640.0, 640.5]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["1", "", "\ud800", "a/../b.jpg", "/dev/zero", "\0", "é\n%s", [], [1], {}, [1, 2, 3, 4], [[1]]]),
)
NUMBER = st.one_of(st.integers(-5, 200), st.floats(-10, 300), st.sampled_from([math.nan, math.inf, -math.inf, None]))


def some_object(keys: dict[str, Any]) -> Any:
    return st.fixed_dictionaries(keys)


GOOD_FILE = some_object(
    {
        "images": st.lists(
            some_object(
                {
                    "id": st.integers(-1, 4),
                    "file_name": st.sampled_from(["1.jpg", "a/1.jpg", "ü 1%.jpg", "../x.jpg", "1.jpg\n"]),
                    "width": st.integers(-1, 200),
                    "height": st.integers(0, 200),
                }
            ),
            max_size=4,
        ),
        "annotations": st.lists(
            some_object(
                {
                    "id": st.integers(-1, 6),
                    "image_id": st.integers(-1, 5),
                    "category_id": st.integers(-1, 4),
                    "bbox": st.lists(NUMBER, min_size=4, max_size=4),
                    "iscrowd": st.sampled_from([0, 1, True]),
                }
            ),
            max_size=6,
        ),
        "categories": st.lists(
            some_object({"id": st.integers(-1, 4), "name": st.sampled_from(["a", "b", "S. aureus"])}), max_size=4
        ),
    }
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in paths_of(item, (*path, key)))]


def changed(plain: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    plain = copy.deepcopy(plain)
    place = plain
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return plain


def numbers_of(ids: list[Any]) -> dict[Any, int]:
    """Ids that are numbers stay what they are; texts are the numbers that they write, else 1, 2, 3 … in their order."""
    kinds = {type(each) for each in ids}
    assert kinds in (set(), {int}, {str}), "ids that are none, or of two kinds"
    if kinds == {str} and not all(re.fullmatch(r"0|-?[1-9]\d{0,17}", each, re.ASCII) for each in ids):
        return {each: place for place, each in enumerate(dict.fromkeys(ids), start=1)}
    return {each: int(each) for each in ids}


def require_exact(plain: dict[str, Any], columns: CocoColumns) -> None:
    """Every value of the file, unchanged; a link is to the id that it writes, in the same kind."""
    images, categories = (numbers_of([entry["id"] for entry in plain[key]]) for key in ("images", "categories"))
    assert columns.image_ids.tolist() == [images[i["id"]] for i in plain["images"]]
    assert list(columns.file_names) == [i["file_name"] for i in plain["images"]]
    assert columns.sizes_wh.tolist() == [[i["width"], i["height"]] for i in plain["images"]]
    annotations = plain.get("annotations", [])
    own = numbers_of([a["id"] for a in annotations])
    for name, key, ids in (
        ("ids", "id", own),
        ("image_ids", "image_id", images),
        ("category_ids", "category_id", categories),
    ):
        links = [a[key] for a in annotations]
        assert getattr(columns, f"annotation_{name}").tolist() == [ids.get(link, link) for link in links]
        assert {type(link) for link in links} <= ({type(each) for each in ids} or {int}), "a link of another kind"
    boxes = [[math.nan if value is None else value for value in a["bbox"]] for a in annotations]
    np.testing.assert_array_equal(columns.boxes_xywh, np.array(boxes, dtype=np.float64).reshape(-1, 4))
    assert columns.iscrowd.tolist() == [bool(a.get("iscrowd", 0)) for a in annotations]
    assert columns.category_ids.tolist() == [categories[c["id"]] for c in plain["categories"]]
    assert list(columns.class_names) == [c["name"] for c in plain["categories"]]


def require_one_line(error: AnnotationError, file: Path) -> None:
    """The problem begins with the file, and it and the next step are a line each."""
    assert (error.where or "").startswith(str(file))
    assert [len(text.splitlines()) for text in (error.problem, error.next_step or "")] == [1, 1]


@FUZZ
@given(plain=GOOD_FILE, data=st.data())
def test_a_file_with_one_value_replaced_is_read_exactly_or_refused_in_one_line(
    tmp_path: Path, plain: Any, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(paths_of(plain)))
    damaged = changed(plain, path, data.draw(ODD))
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(damaged))
    try:
        columns = parse_coco(file)
    except AnnotationError as error:
        refusal = error
    else:
        require_exact(damaged, columns)
        return
    require_one_line(refusal, file)


WRITTEN: dict[str, Callable[[int], Any]] = {
    "number": int,
    "text": str,
    "padded": lambda number: f"{number:03d}",
    "fraction": float,
    "word": chr,
}


@FUZZ
@given(
    plain=GOOD_FILE,
    kinds=st.fixed_dictionaries({key: st.sampled_from(sorted(WRITTEN)) for key in ("images", "categories", "links")}),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
)
def test_ids_in_any_writing_and_text_in_any_encoding_are_read_exactly_or_refused_in_one_line(
    tmp_path: Path, plain: Any, kinds: dict[str, str], encoding: str
) -> None:
    def written(number: int, kind: str) -> Any:
        return WRITTEN[kinds[kind]](number + 100 if kinds[kind] == "word" else number)

    for key in ("images", "categories"):
        for entry in plain[key]:
            entry["id"] = written(entry["id"], key)
    for annotation in plain["annotations"]:
        for key, of in (("image_id", "images"), ("category_id", "categories")):
            annotation[key] = written(annotation[key], of if kinds["links"] == "number" else "links")
    file = tmp_path / "written.json"
    file.write_bytes(json.dumps(plain, ensure_ascii=False).encode(encoding))
    try:
        columns = parse_coco(file)
    except AnnotationError as error:
        refusal = error
    else:
        require_exact(plain, columns)
        return
    require_one_line(refusal, file)


@FUZZ
@given(content=st.one_of(st.binary(max_size=60), st.text(alphabet='[]{}":,0eNan \\u', max_size=60).map(str.encode)))
def test_bytes_that_are_no_coco_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(AnnotationError):
        parse_coco(tmp_path / "x.json")


def test_depth_and_folders_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path in (tmp_path / "deep.json", tmp_path, tmp_path / "none.json"):
        with pytest.raises(AnnotationError):
            parse_coco(path)
    (tmp_path / "bom.json").write_text('\ufeff{"images": [], "categories": []}')
    assert len(parse_coco(tmp_path / "bom.json").image_ids) == 0


def naive_rules(plain: dict[str, Any], min_side: float) -> dict[str, set[int]]:
    """The rules again, box by box, as one would write them in a loop."""
    broken: dict[str, set[int]] = {}
    first_image: dict[int, dict[str, Any]] = {}
    for image in plain["images"]:
        first_image.setdefault(image["id"], image)
    seen_ids: set[int] = set()
    seen_boxes: set[Any] = set()
    for row, annotation in enumerate(plain["annotations"]):
        x, y, width, height = (math.nan if value is None else value for value in annotation["bbox"])
        image = first_image.get(annotation["image_id"])
        rules = []
        if not all(map(math.isfinite, (x, y, width, height))):
            rules.append("non_finite_box")
        else:
            side = min(width, height)
            if side <= 0:
                rules.append("degenerate_box")
            elif side < min_side:
                rules.append("small_box")
            if side > 0 and image is not None:
                right, bottom = image["width"] + 0.01, image["height"] + 0.01
                if x < -0.01 or y < -0.01 or x + width > right or y + height > bottom:
                    rules.append("out_of_bounds_box")
            place = tuple(np.rint(np.array([x, y, width, height]) * 10**6) + 0.0)
            key = (annotation["image_id"], annotation["category_id"], *place)
            if key in seen_boxes:
                rules.append("duplicate_box")
            seen_boxes.add(key)
        if annotation["category_id"] not in {c["id"] for c in plain["categories"]}:
            rules.append("unknown_class")
        if image is None:
            rules.append("unknown_image")
        if annotation["id"] < 0:
            rules.append("negative_id")
        if annotation["id"] in seen_ids:
            rules.append("duplicate_annotation_id")
        seen_ids.add(annotation["id"])
        for rule in rules:
            broken.setdefault(rule, set()).add(row)
    return broken


@settings(FUZZ, max_examples=max(80, EXAMPLES // 3))
@given(plain=GOOD_FILE)
def test_rules_over_columns_find_what_a_loop_finds_and_the_verdict_follows(tmp_path: Path, plain: Any) -> None:
    (tmp_path / "x.json").write_text(json.dumps(plain))
    columns = parse_coco(tmp_path / "x.json")
    found = {rule: set(rows.tolist()) for rule, rows in find_box_rows(columns).items() if len(rows)}
    assert found == naive_rules(plain, 2.0)
    assert len(find_box_findings(columns, "x")) == sum(map(len, found.values()))
    findings, report = judge({"x": columns}, find_all({"x": columns}, tmp_path, 2.0), BOX_POLICY_DEFAULTS, 0.01, 0.1)
    counts = {rule: entry["count"] for rule, entry in report["findings"].items() if entry["count"]}
    assert counts == findings["rule"].value_counts().to_dict()
    assert report["ok"] == (not any(report["findings"][rule]["action"] == "fail" for rule in counts))
