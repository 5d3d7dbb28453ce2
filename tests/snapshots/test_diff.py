from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agar_pipeline.snapshots.diff import SnapshotDiff, SnapshotTables, diff_tables, summarize
from agar_pipeline.snapshots.photo_changes import summarize_photos

Row = tuple[str, float, float, float, float]
FOUR: list[Row] = [("a", 0, 0, 10, 10), ("a", 50, 50, 10, 10), ("b", 0, 50, 10, 10), ("b", 90, 90, 5, 5)]


def tables(images: dict[str, list[Row]], **columns: dict[str, Any]) -> SnapshotTables:
    """A snapshot of images named after their sample ids; `sha256={"s1": …}` and the like replace single values."""
    rows = [
        {"image_id": number, "sample_id": name, "path": f"{name}.jpg", "width": 100, "height": 100, "sha256": name}
        for number, name in enumerate(sorted(images), start=1)
    ]
    for column, values in columns.items():
        for row in rows:
            row[column] = values.get(str(row["sample_id"]), row[column])
    boxes = [
        {"image_id": row["image_id"], **dict(zip(("label", "x", "y", "width", "height"), box, strict=True))}
        for row in rows
        for box in images[str(row["sample_id"])]
    ]
    table = pd.DataFrame(boxes, columns=["image_id", "label", "x", "y", "width", "height"])
    return SnapshotTables(pd.DataFrame(rows), table.assign(iscrowd=False, attributes=None))


def kinds(diff: SnapshotDiff) -> list[str]:
    return sorted(change.kind for change in diff.boxes)


def test_the_same_snapshot_has_no_difference() -> None:
    diff = diff_tables(tables({"s1": FOUR, "s2": []}), tables({"s1": FOUR, "s2": []}))
    assert diff.is_empty
    assert summarize(diff) == []


def test_images_are_told_apart_by_their_sample_ids() -> None:
    before = tables({"s1": FOUR, "s2": FOUR[:1], "s4": []})
    after = tables({"s0": FOUR[:2], "s1": FOUR, "s4": []}, sha256={"s1": "other"}, path={"s4": "elsewhere/4.jpg"})
    diff = diff_tables(before, after)
    assert [(change.sample_id, change.path, change.boxes) for change in diff.images_added] == [("s0", "s0.jpg", 2)]
    assert [(change.sample_id, change.path, change.boxes) for change in diff.images_removed] == [("s2", "s2.jpg", 1)]
    assert [change.sample_id for change in diff.files_replaced] == ["s1"]
    assert [(change.path_before, change.path_after) for change in diff.files_moved] == [("s4.jpg", "elsewhere/4.jpg")]
    assert not diff.boxes, "image ids shift when samples come and go; boxes stay with their image"
    assert summarize(diff) == [
        "1 image added: s0.jpg",
        "1 image removed: s2.jpg",
        "1 photo replaced: s1.jpg",
        "1 photo at another path: elsewhere/4.jpg",
    ]


def test_an_image_that_is_labelled_for_the_first_time_is_named_if_only_as_empty() -> None:
    before, after = tables({"s1": [], "s2": []}), tables({"s1": [], "s2": []})
    before.images["labelled"], after.images["labelled"] = [False, True], [True, False]
    assert summarize(diff_tables(before, after)) == [
        "1 image labelled for the first time: s1.jpg",
        "1 image without labels again: s2.jpg",
    ]
    assert diff_tables(tables({"s1": []}), tables({"s1": []})).is_empty, "snapshots of before do not know"


def test_a_photo_that_is_gone_is_missing_and_not_replaced() -> None:
    names = ["gone", "back", "never", "other", "same"]
    before = tables({name: [] for name in names}, sha256={"back": None, "never": None})
    after = tables(
        {name: [] for name in names}, sha256={"gone": None, "never": None, "other": "x"}, width={"gone": None}
    )
    diff = diff_tables(before, after)
    words = ["1 photo replaced: other.jpg", "1 photo missing on disk: gone.jpg", "1 photo no longer missing: back.jpg"]
    assert summarize(diff) == words
    plain = diff.to_plain()
    assert [[each["sample_id"] for each in plain[f"files_{kind}"]] for kind in ("replaced", "missing", "found")] == [
        *(["other"], ["gone"], ["back"])
    ]
    caches = [each.images.rename(columns={"path": "file_name"})[["file_name", "sha256"]] for each in (before, after)]
    assert summarize_photos(*caches) == words


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param([*FOUR, ("a", 20, 20, 5, 5)], ["added"], id="a new box is added"),
        pytest.param(FOUR[1:], ["removed"], id="a box that is gone is removed"),
        pytest.param([("a", 1, 0, 10, 10), *FOUR[1:]], ["moved"], id="an overlapping box of one label moved"),
        pytest.param([("c", 0, 0, 10, 10), *FOUR[1:]], ["relabelled"], id="another label at the same place"),
        pytest.param([("a", 20, 0, 10, 10), *FOUR[1:]], ["added", "removed"], id="without overlap it is another box"),
        pytest.param([("c", 1, 0, 10, 10), *FOUR[1:]], ["added", "removed"], id="moved and relabelled is another box"),
        pytest.param([("a", 5e-7, 0, 10, 10), *FOUR[1:]], [], id="less than a millionth of a pixel is nothing"),
        pytest.param([*FOUR, FOUR[0]], ["added"], id="a second copy of a box is added"),
        pytest.param([], ["removed"] * 4, id="all are removed"),
    ],
)
def test_boxes_of_one_image(after: list[Row], expected: list[str]) -> None:
    assert kinds(diff_tables(tables({"s1": FOUR}), tables({"s1": after}))) == expected


def test_moved_boxes_are_paired_by_the_largest_overlap_first() -> None:
    before = tables({"s1": [("a", 0, 0, 10, 10), ("a", 6, 0, 10, 10)]})
    after = tables({"s1": [("a", 5, 0, 10, 10), ("a", 12, 0, 10, 10)]})
    diff = diff_tables(before, after)
    moves = {(c.before.box_xywh[0], c.after.box_xywh[0]) for c in diff.boxes if c.before and c.after}
    assert kinds(diff) == ["added", "moved", "removed"], "0 overlaps neither once 6 → 5 is taken, the best pair"
    assert moves == {(6.0, 5.0)}


def test_another_order_is_no_change_of_a_box() -> None:
    diff = diff_tables(tables({"s1": FOUR}), tables({"s1": FOUR[::-1]}))
    assert not diff.boxes
    assert summarize(diff) == ["1 image has its boxes in another order: s1.jpg"]


def test_attributes_and_iscrowd_count() -> None:
    before, after = tables({"s1": FOUR}), tables({"s1": FOUR})
    after.boxes.loc[0, "iscrowd"] = True
    after.boxes["attributes"] = ["{}", None, None, None]
    diff = diff_tables(before, after)
    assert kinds(diff) == ["edited"]
    assert diff.boxes[0].after is not None
    assert diff.boxes[0].after.iscrowd


def test_boxes_without_numbers_or_labels_are_compared_too() -> None:
    odd: list[Any] = [(None, np.nan, 0, np.inf, 10), ("a", 0, 0, 0, 0)]
    assert diff_tables(tables({"s1": odd}), tables({"s1": odd})).is_empty
    diff = diff_tables(tables({"s1": odd}), tables({"s1": odd[:1]}))
    assert kinds(diff) == ["removed"]
    plain = diff_tables(tables({"s1": odd}), tables({"s1": odd[1:]})).to_plain()
    assert json.loads(json.dumps(plain, allow_nan=False))["boxes_removed"][0]["before"]["box_xywh"] == [
        None,
        0,
        None,
        10,
    ]


def test_an_empty_snapshot_on_either_side() -> None:
    full = tables({"s1": FOUR})
    empty = SnapshotTables(full.images.iloc[:0], full.boxes.iloc[:0])
    assert [change.boxes for change in diff_tables(empty, full).images_added] == [4]
    assert [change.boxes for change in diff_tables(full, empty).images_removed] == [4]
    assert diff_tables(empty, empty).is_empty


def test_reasons_name_the_first_images_of_many() -> None:
    before = tables({f"s{number}": FOUR for number in range(10, 14)})
    after = tables({f"s{number}": FOUR[1:] for number in range(10, 13)} | {"s13": [("c", *FOUR[0][1:]), *FOUR[1:3]]})
    assert summarize(diff_tables(before, after)) == [
        "5 boxes changed in 4 images (4 removed, 1 relabelled): s10.jpg, s11.jpg, s12.jpg, …"
    ]
    assert summarize(diff_tables(tables({"s1": FOUR}), tables({"s1": FOUR[1:]}))) == [
        "1 box changed in 1 image (1 removed): s1.jpg"
    ]


def test_a_little_edit_of_a_large_dataset_is_found_at_once() -> None:
    rng = np.random.default_rng(0)
    ids = np.sort(rng.integers(1, 4432, 86_476))
    images = pd.DataFrame({"image_id": np.arange(1, 4432)})
    for column in ("sample_id", "path", "sha256"):
        images[column] = [f"{column}{number:06d}" for number in images["image_id"]]
    images = images.assign(width=2048, height=2048)
    boxes = pd.DataFrame(rng.random((len(ids), 4)) * 900, columns=["x", "y", "width", "height"])
    boxes = boxes.assign(
        image_id=ids, label=rng.choice(["S.aureus", "E.coli"], len(ids)), iscrowd=False, attributes=None
    )
    edited = boxes.drop(index=[7, 40_000]).reset_index(drop=True)
    edited.loc[[60_000], "x"] += 1
    before, after = SnapshotTables(images, boxes), SnapshotTables(images, edited)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        diff = diff_tables(before, after)
        seconds.append(time.perf_counter() - started)
    assert kinds(diff) == ["moved", "removed", "removed"]
    assert min(seconds) < 0.5
