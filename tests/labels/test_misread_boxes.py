"""Boxes written in another convention: the report fails, and names the convention by trying it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import BOX_POLICY_DEFAULTS
from agar_pipeline.config.box_policy import mending_actions
from agar_pipeline.labels.box_rules import concat_findings
from agar_pipeline.labels.findings import find_all, judge
from agar_pipeline.labels.mending import mend_part
from agar_pipeline.scoring.misread_predictions import explain_misreading

SIZE_WH = (1200, 900)
Slip = Callable[[np.ndarray], np.ndarray]


def coco(boxes_xywh: np.ndarray, images: int = 4, size_wh: tuple[int, int] = SIZE_WH) -> CocoColumns:
    """Boxes of two classes dealt out to pictures of one size."""
    numbers = np.arange(len(boxes_xywh))
    return CocoColumns(
        image_ids=np.arange(1, images + 1),
        file_names=np.array([f"{i}.jpg" for i in range(images)], dtype=object),
        sizes_wh=np.array([size_wh] * images),
        annotation_ids=numbers + 1,
        annotation_image_ids=numbers % images + 1,
        annotation_category_ids=numbers % 2 + 1,
        boxes_xywh=np.asarray(boxes_xywh, dtype=np.float64),
        iscrowd=np.zeros(len(numbers), bool),
        category_ids=np.array([1, 2]),
        class_names=("a", "b"),
    )


def boxes(count: int = 36, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    """Inside the pictures, all over them, 3 to 6 hundredths wide; the first one in a corner."""
    rng = np.random.default_rng(3)
    sides = rng.uniform(0.03, 0.06, (count, 2)) * min(size_wh)
    places = rng.uniform(0, 1, (count, 2))
    places[0] = 1
    return np.concatenate([places * (np.array(size_wh) - sides), sides], axis=1)


def corners(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


SHARE = np.array(SIZE_WH * 2, dtype=np.float64)
CENTRE = np.array([*SIZE_WH, 0, 0]) / 2
SLIPS: dict[str, tuple[Slip, str]] = {
    "corners": (corners, "corners (xmin, ymin, xmax, ymax)"),
    "both x first": (lambda b: corners(b)[:, [0, 2, 1, 3]], "xmin, xmax, ymin, ymax"),
    "shares, both x first": (lambda b: (corners(b) / SHARE)[:, [0, 2, 1, 3]], "shares of the picture: xmin, xmax"),
    "shares": (lambda b: b / SHARE, "shares of the picture: x, y, width, height"),
    "shares as corners": (lambda b: corners(b) / SHARE, "shares of the picture: corners (xmin"),
    "shares as corners, y first": (lambda b: (corners(b) / SHARE)[:, [1, 0, 3, 2]], "shares of the picture: corners"),
    "percent": (lambda b: b / SHARE * 100, "percent of the picture"),
    "thousandths, y first": (
        lambda b: (corners(b) / SHARE * 1000)[:, [1, 0, 3, 2]],
        "thousandths of the picture: corn",
    ),
    "drawn on a larger picture": (lambda b: b * 2, "pixels of a picture 2 times as large"),
    "drawn on a smaller picture": (lambda b: b / 4, "pixels of a picture 0.25 times as large"),
    "swapped axes": (lambda b: b[:, [1, 0, 3, 2]], "swapped axes"),
    "from the centre": (lambda b: b - CENTRE, "x and y counted from the picture's centre"),
    "YOLO rows of corners": (
        lambda b: np.concatenate([corners(b)[:, :2] - corners(b)[:, 2:] / 2, corners(b)[:, 2:]], axis=1),
        "corners, which were taken for the centre",
    ),
    "VOC with width and height": (
        lambda b: np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1),
        "width and height, which were taken for the right and lower edge",
    ),
    "pixels in FiftyOne, which holds shares": (lambda b: b * SHARE, "pixels, which were taken for shares"),
    "every box twice": (lambda b: np.concatenate([b, b]), "are listed twice"),
}


def judged(columns: CocoColumns, share: float = 0.05, mend: bool = True) -> tuple[bool, str]:
    """The verdict as the chain comes to it, where boxes are clipped before; and what is said of the whole."""
    earlier, mending = None, None
    if mend:
        policy = mending_actions({**BOX_POLICY_DEFAULTS, "degenerate_box": "drop_box"})
        mended = mend_part(columns, "train", policy, 2.0, concat_findings([]))
        columns, earlier = mended.columns, mended.findings
        mending = {"train": {**mended.counts, "image_files": "skip"}}
    found = find_all({"train": columns}, Path("/nowhere"), 2.0, earlier=earlier)
    found = found[found["rule"] != "missing_image"]
    policy_in_full: Any = {**BOX_POLICY_DEFAULTS, "degenerate_box": "drop_box"}
    findings, report = judge({"train": columns}, found, policy_in_full, 1.0, share, mending)
    misread = findings.loc[findings["rule"] == "misread_boxes", "value"]
    return report["ok"], " | ".join(misread)


@pytest.mark.parametrize("mend", [True, False], ids=["clipped before", "as written"])
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_fails_and_its_convention_is_named(slip: str, mend: bool) -> None:
    make, words = SLIPS[slip]
    ok, said = judged(coco(make(boxes())), mend=mend)
    assert not ok
    assert words in said, said


def test_right_boxes_and_a_few_bad_ones_pass() -> None:
    good = boxes(100)
    assert judged(coco(good)) == (True, "")
    good[:5, 0] = 1190  # 5 of 100 stand out
    assert judged(coco(good)) == (True, "")
    good[:30, 0], good[:30, 2] = 1171, 30  # 30 overhang their picture's edge by a pixel: drawn along it
    assert judged(coco(good)) == (True, "")
    good[:11, 0], good[:11, 2] = 1171, 300
    ok, said = judged(coco(good))
    assert not ok
    assert said.startswith("11 of 100 boxes (11%) leave their picture, over max_flawed_share 5%: none of the other")
    assert judged(coco(good), share=0.5)[0], "a lab may set another share"


def test_a_plate_in_the_corner_of_a_scanner_is_no_slip() -> None:
    assert judged(coco(boxes(40) * [0.45, 0.3, 0.45, 0.3])) == (True, "")


def test_a_slip_in_one_part_of_the_pictures_is_named_too() -> None:
    """One person of two wrote corners."""
    truth = boxes(80)
    written = np.where((np.arange(80) % 4 == 0)[:, None], corners(truth), truth)
    ok, said = judged(coco(written))
    assert not ok
    assert "corners (xmin, ymin, xmax, ymax), 20 of 20 fit" in said


def predictions(boxes_xywh: np.ndarray, categories: np.ndarray | None = None) -> Detections:
    numbers = np.arange(len(boxes_xywh))
    known = numbers % 2 + 1 if categories is None else categories
    return Detections(numbers % 4 + 1, known, np.asarray(boxes_xywh), np.full(len(numbers), 0.9))


@pytest.mark.parametrize(
    "slip", [name for name in SLIPS if name not in ("VOC with width and height", "every box twice")]
)
def test_predictions_in_another_convention_are_explained(slip: str) -> None:
    make, words = SLIPS[slip]
    truth = boxes()
    said = explain_misreading(coco(truth), predictions(make(truth)), 0.0)
    assert said is not None
    assert "100% if bbox is read as" in said
    assert words in said


def test_predictions_on_square_photos_are_explained_though_all_boxes_lie_inside() -> None:
    side = (900, 900)
    truth = boxes(size_wh=side)
    for written, words in (
        (truth[:, [1, 0, 3, 2]], "swapped axes (y, x"),
        (np.concatenate([truth[:, :2] + truth[:, 2:] / 2, truth[:, 2:]], axis=1), "the centre, then width"),
        (np.stack([truth[:, 0], 900 - truth[:, 1] - truth[:, 3], *truth.T[2:]], axis=1), "y counted upwards, to the b"),
    ):
        said = explain_misreading(coco(truth, size_wh=side), predictions(written), 0.0)
        assert said is not None
        assert words in said


def test_other_bad_predictions_are_left_to_other_words() -> None:
    truth, numbers = boxes(), np.arange(36)
    columns = coco(truth)
    assert explain_misreading(columns, predictions(truth), 0.9) is None, "they are good"
    assert explain_misreading(columns, predictions(np.roll(boxes(72)[36:], 1, axis=0)), 0.0) is None, "they are noise"
    shifted = dataclasses.replace(predictions(truth), image_ids=numbers % 4)
    said = explain_misreading(columns, shifted, 0.0)
    assert said is not None
    assert "100% if +1 is added to image_id" in said
    said = explain_misreading(columns, predictions(truth, numbers % 2), 0.0)
    assert said is not None
    assert "36 of them with its category if +1 is added to category_id" in said
