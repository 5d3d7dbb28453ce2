"""All annotation rules over the columns of a million boxes, against a Python loop over the same rules."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import MIN_BOX_SIDE_PX
from agar_pipeline.labels.box_rules import find_box_rows
from benchmarks._timing import by_turns, print_ratio

BOXES, PER_IMAGE, ROUNDS = 1_000_000, 20, 5
SIDE_PX = 2048


def main() -> None:
    columns = _columns()
    rows = {
        "image_ids": columns.image_ids.tolist(),
        "sizes": columns.sizes_wh.tolist(),
        "category_ids": columns.category_ids.tolist(),
        "annotations": list(
            zip(
                columns.annotation_ids.tolist(),
                columns.annotation_image_ids.tolist(),
                columns.annotation_category_ids.tolist(),
                columns.boxes_xywh.tolist(),
                strict=True,
            )
        ),
    }
    ours = {rule: found.tolist() for rule, found in find_box_rows(columns).items() if len(found)}
    assert ours == _loop(rows), "both find the same"
    seconds = by_turns(ROUNDS, loop=lambda: _loop(rows), ours=lambda: find_box_rows(columns))
    cpu_s = statistics.median(_cpu_seconds(lambda: find_box_rows(columns)) for _ in range(ROUNDS))
    print(f"box_rules: {BOXES / cpu_s / 1e6:.1f} million boxes a second of one core (processor time)")
    print_ratio("box_rules", seconds["loop"], seconds["ours"], aim=10)


def _cpu_seconds(call: Callable[[], object]) -> float:
    """Processor time: others may share the core."""
    started = time.process_time()
    call()
    return time.process_time() - started


def _columns() -> CocoColumns:
    """A million boxes, one in a thousand broken by each of several rules."""
    rng = np.random.default_rng(0)
    images = BOXES // PER_IMAGE
    boxes = np.concatenate([rng.uniform(0, SIDE_PX - 200, (BOXES, 2)), rng.uniform(5, 200, (BOXES, 2))], axis=1)
    broken = rng.permutation(BOXES)[:5000].reshape(5, 1000)
    boxes[broken[0], 2] = np.nan
    boxes[broken[1], 3] = 0
    boxes[broken[2], 2] = 1
    boxes[broken[3], 0] = SIDE_PX - 1
    boxes[broken[4]] = boxes[(broken[4] // PER_IMAGE) * PER_IMAGE]
    return CocoColumns(
        image_ids=np.arange(1, images + 1),
        file_names=np.array([f"{i}.jpg" for i in range(images)], dtype=object),
        sizes_wh=np.full((images, 2), SIDE_PX),
        annotation_ids=np.arange(1, BOXES + 1),
        annotation_image_ids=np.repeat(np.arange(1, images + 1), PER_IMAGE),
        annotation_category_ids=rng.integers(1, 8, BOXES) * (rng.random(BOXES) > 0.001),
        boxes_xywh=boxes,
        iscrowd=np.zeros(BOXES, bool),
        category_ids=np.arange(1, 8),
        class_names=tuple("abcdefg"),
    )


def _loop(rows: dict) -> dict[str, list[int]]:
    """The same rules, box by box: looked up in dicts and sets, as a careful person would write it."""
    size_of = dict(zip(rows["image_ids"], rows["sizes"], strict=True))
    categories = set(rows["category_ids"])
    seen_ids: set[int] = set()
    seen_boxes: set[tuple] = set()
    found: dict[str, list[int]] = defaultdict(list)
    isfinite = math.isfinite
    for row, (annotation_id, image_id, category_id, (x, y, width, height)) in enumerate(rows["annotations"]):
        size = size_of.get(image_id)
        if isfinite(x) and isfinite(y) and isfinite(width) and isfinite(height):
            side = min(width, height)
            if side <= 0:
                found["degenerate_box"].append(row)
            elif side < MIN_BOX_SIDE_PX:
                found["small_box"].append(row)
            if side > 0 and size is not None:
                beyond = x < -0.01 or y < -0.01 or x + width > size[0] + 0.01 or y + height > size[1] + 0.01
                if beyond:
                    found["out_of_bounds_box"].append(row)
            key = (image_id, category_id, round(x, 6), round(y, 6), round(width, 6), round(height, 6))
            if key in seen_boxes:
                found["duplicate_box"].append(row)
            seen_boxes.add(key)
        else:
            found["non_finite_box"].append(row)
        if category_id not in categories:
            found["unknown_class"].append(row)
        if size is None:
            found["unknown_image"].append(row)
        if annotation_id < 0:
            found["negative_id"].append(row)
        if annotation_id in seen_ids:
            found["duplicate_annotation_id"].append(row)
        seen_ids.add(annotation_id)
    return dict(found)
