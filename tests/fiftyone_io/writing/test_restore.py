from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from bson import ObjectId, encode
from hypothesis import given
from hypothesis import strategies as st

from agar_pipeline.coco.box_formats import rel_xywh_to_xywh, xywh_to_rel_xywh
from agar_pipeline.fiftyone_io.reading.mongo_columns import decode
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource
from agar_pipeline.fiftyone_io.writing.restore import exact_rel_xywh, rest_of


@given(
    shares=st.lists(st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=False), min_size=4, max_size=4),
    size_wh=st.tuples(st.integers(1, 100_000), st.integers(1, 100_000)),
)
def test_shares_scale_back_to_the_same_pixels(shares: list[float], size_wh: tuple[int, int]) -> None:
    with np.errstate(all="ignore"):
        pixels = rel_xywh_to_xywh(np.array([shares]), np.array([size_wh]))
        again = rel_xywh_to_xywh(exact_rel_xywh(pixels, np.array([size_wh])), np.array([size_wh]))
    assert again.tobytes() == pixels.tobytes()


def test_a_quotient_alone_would_not_do() -> None:
    sides = np.arange(1, 5000)
    sizes_wh = np.stack([sides, sides], axis=1)
    pixels = rel_xywh_to_xywh(np.nextafter(xywh_to_rel_xywh(np.full((4999, 4), 64.0), sizes_wh), 1), sizes_wh)
    assert (rel_xywh_to_xywh(xywh_to_rel_xywh(pixels, sizes_wh), sizes_wh) != pixels).any()
    assert (rel_xywh_to_xywh(exact_rel_xywh(pixels, sizes_wh), sizes_wh) == pixels).all()


@pytest.mark.parametrize(
    ("attributes", "iscrowd"),
    [
        pytest.param(None, False, id="nothing"),
        pytest.param(None, True, id="a crowd"),
        pytest.param({"confidence": 0.30000000000000004, "index": 2**40, "tags": ["a"]}, False, id="fields"),
        pytest.param({"score": None, "deep": {"list": [1, None, -0.0]}}, True, id="numbers that are none"),
        pytest.param({"attributes": {"iscrowd": {"value": True}}}, False, id="older attributes overruled by the field"),
        pytest.param({"attributes": {"iscrowd": {"value": "1"}}}, True, id="older attributes"),
    ],
)
def test_the_rest_of_a_detection_reads_as_the_same_text(attributes: dict[str, Any] | None, iscrowd: bool) -> None:
    text = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode() if attributes else None
    label = {"label": "a", "bounding_box": [0, 0, 1, 1], **rest_of(text, iscrowd)}
    sample = {"_id": ObjectId(), "filepath": "/a.jpg", "gt": {"detections": [label]}}
    boxes = decode(encode(sample), ResolvedSource("samples", "[]", "gt.detections"), "/").boxes
    assert (boxes.attributes.to_pylist(), boxes.iscrowd.tolist()) == ([text], [iscrowd])


def test_restoring_leaves_a_dataset_with_samples_as_it_is(
    uri: str, home: Path, database: Any, new_dataset: Any, tmp_path: Path
) -> None:
    from agar_pipeline.errors import DatasetError
    from agar_pipeline.fiftyone_io.writing.restore import restore_at
    from tests.fiftyone_io.conftest import collection_of

    name = new_dataset()
    samples = database[collection_of(database, name)]
    samples.insert_one({"filepath": "/1.jpg"})
    with pytest.raises(DatasetError, match="exists and holds 1 sample;"):
        restore_at(uri, tmp_path, name, "ground_truth", "embedded", lambda *prepare: None, print)
    assert samples.count_documents({}) == 1
