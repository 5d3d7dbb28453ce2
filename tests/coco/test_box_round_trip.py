"""FiftyOne's boxes through COCO, a smaller copy and the model's target, and back, for any image and any box."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agar_pipeline.coco.box_formats import model_xyxy_to_xywh, rel_xywh_to_xywh, xywh_to_model_xyxy, xywh_to_rel_xywh
from agar_pipeline.coco.columns import CocoColumns, parse_coco, read_coco
from agar_pipeline.coco.writer import write_coco
from agar_pipeline.detection.loading.dataset import scale_boxes
from agar_pipeline.media.cache_photos import scale_columns

SIDES = st.integers(1, 20_000)
EXACT_PX = 1e-6


@st.composite
def rel_boxes(draw: st.DrawFn) -> list[list[float]]:
    """Boxes inside the image, as shares of it."""
    shares = st.floats(0, 1, allow_subnormal=False)
    boxes = []
    for left, top, right, bottom in draw(st.lists(st.tuples(shares, shares, shares, shares), max_size=8)):
        x, y = left * (1 - right), top * (1 - bottom)
        boxes.append([x, y, right, bottom])
    return boxes


def columns_of(boxes_rel_xywh: np.ndarray, size_wh: tuple[int, int]) -> CocoColumns:
    count = len(boxes_rel_xywh)
    return CocoColumns(
        image_ids=np.array([1]),
        file_names=np.array(["1.jpg"], dtype=object),
        sizes_wh=np.array([size_wh]),
        annotation_ids=np.arange(count),
        annotation_image_ids=np.ones(count, np.int64),
        annotation_category_ids=np.ones(count, np.int64),
        boxes_xywh=rel_xywh_to_xywh(boxes_rel_xywh, np.array(size_wh)),
        iscrowd=np.zeros(count, bool),
        category_ids=np.array([1]),
        class_names=("colony",),
    )


@settings(max_examples=80, deadline=None)
@given(boxes=rel_boxes(), size_wh=st.tuples(SIDES, SIDES), max_side=st.integers(32, 8192))
def test_boxes_survive_every_change_of_format_and_scale(
    boxes: list[list[float]], size_wh: tuple[int, int], max_side: int
) -> None:
    boxes_rel_xywh = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    original = columns_of(boxes_rel_xywh, size_wh)
    scaled = scale_columns(original, max_side)
    assert (scaled.sizes_wh <= original.sizes_wh).all(), "never enlarged"
    assert scaled.sizes_wh.max() <= max(max_side, 1)
    assert scaled.sizes_wh.min() >= 1
    with tempfile.TemporaryDirectory() as folder:
        for columns in (original, scaled):
            path = Path(folder) / "train.json"
            write_coco(path, columns)
            for read in (read_coco(path), parse_coco(path)):
                assert np.array_equal(read.boxes_xywh, columns.boxes_xywh), "not a bit is lost on disk"
                back_xywh = read.in_photo_pixels().boxes_xywh
                assert np.allclose(back_xywh, original.boxes_xywh, rtol=0, atol=EXACT_PX)
                assert np.allclose(
                    xywh_to_rel_xywh(back_xywh, np.array(size_wh)) * max(size_wh),
                    boxes_rel_xywh * max(size_wh),
                    rtol=0,
                    atol=EXACT_PX * max(size_wh) / min(size_wh),
                )


@settings(max_examples=80, deadline=None)
@given(boxes=rel_boxes(), size_wh=st.tuples(SIDES, SIDES), input_size=st.integers(32, 8192))
def test_targets_lead_back_to_the_boxes(boxes: list[list[float]], size_wh: tuple[int, int], input_size: int) -> None:
    boxes_rel_xywh = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    boxes_xywh = rel_xywh_to_xywh(boxes_rel_xywh, np.array(size_wh))
    shape_hw = [max(1, round(side * input_size / max(size_wh))) for side in reversed(size_wh)]
    model_xyxy = xywh_to_model_xyxy(boxes_xywh, size_wh, shape_hw)
    back_xywh = model_xyxy_to_xywh(model_xyxy, size_wh, shape_hw)
    assert np.allclose(back_xywh, boxes_xywh, rtol=0, atol=EXACT_PX)
    target_xyxy = scale_boxes(boxes_xywh, size_wh, shape_hw)
    assert np.allclose(target_xyxy, model_xyxy, rtol=2**-23, atol=1e-30), "the target is that, rounded to float32"
