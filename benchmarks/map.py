"""mAP of 887 plates with 100 detections each: ours against pycocotools, with two other libraries beside them."""

from __future__ import annotations

import contextlib
import io
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.scoring.average_precision import coco_metrics
from benchmarks._timing import by_turns, print_ratio

PLATES, COLONIES, DETECTIONS = 887, 20, 100
AIM = 40


def generate(plates: int, seed: int = 0) -> tuple[CocoColumns, Detections]:
    """Plates of 2048 × 2048, five classes; four of five colonies found within some pixels, the rest noise."""
    rng = np.random.default_rng(seed)
    total = plates * COLONIES
    boxes = np.concatenate([rng.uniform(0, 1900, (total, 2)), rng.uniform(20, 140, (total, 2))], axis=1)
    image_ids, categories = np.repeat(np.arange(1, plates + 1), COLONIES), rng.integers(1, 6, total)
    columns = CocoColumns(
        image_ids=np.arange(1, plates + 1),
        file_names=np.array([f"{i}.jpg" for i in range(1, plates + 1)], dtype=object),
        sizes_wh=np.full((plates, 2), 2048),
        annotation_ids=np.arange(1, total + 1),
        annotation_image_ids=image_ids,
        annotation_category_ids=categories,
        boxes_xywh=boxes,
        iscrowd=np.zeros(total, bool),
        category_ids=np.arange(1, 6),
        class_names=tuple("abcde"),
    )
    found = np.flatnonzero(rng.random(total) < 0.8)
    moved = boxes[found] + rng.normal(0, 4, (len(found), 4))
    noise = plates * DETECTIONS - len(found)
    noise_boxes = np.concatenate([rng.uniform(0, 1900, (noise, 2)), rng.uniform(20, 140, (noise, 2))], axis=1)
    counts = np.full(plates, DETECTIONS) - np.bincount(image_ids[found] - 1, minlength=plates)
    return columns, Detections(
        np.concatenate([image_ids[found], np.repeat(np.arange(1, plates + 1), counts)]),
        np.concatenate([categories[found], rng.integers(1, 6, noise)]),
        np.concatenate([np.maximum(moved, 1), noise_boxes]),
        np.concatenate([rng.beta(5, 2, len(found)), rng.beta(2, 5, noise)]),
    )


def to_coco(columns: CocoColumns) -> dict[str, Any]:
    annotations = zip(
        columns.annotation_ids.tolist(),
        columns.annotation_image_ids.tolist(),
        columns.annotation_category_ids.tolist(),
        columns.boxes_xywh.tolist(),
        strict=True,
    )
    return {
        "info": {},
        "images": [{"id": i, "width": 2048, "height": 2048} for i in columns.image_ids.tolist()],
        "categories": [{"id": i, "name": str(i)} for i in columns.category_ids.tolist()],
        "annotations": [
            {"id": i, "image_id": image, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, image, c, box in annotations
        ],
    }


def by_coco_api(coco: Any, evaluation: Any, plain: dict[str, Any], results: np.ndarray) -> float:
    """mAP by pycocotools' interface; loading is part of it, as it is of ours."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco()
        truth.dataset = plain
        truth.createIndex()
        run = evaluation(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0])


def by_torchmetrics(columns: CocoColumns, detections: Detections) -> float:
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(box_format="xywh", backend="pycocotools")
    for image_id in columns.image_ids:
        mine, own = detections.image_ids == image_id, columns.annotation_image_ids == image_id
        predicted = {
            "boxes": torch.from_numpy(detections.boxes_xywh[mine]).float(),
            "scores": torch.from_numpy(detections.scores[mine]).float(),
            "labels": torch.from_numpy(detections.category_ids[mine]),
        }
        target = {
            "boxes": torch.from_numpy(columns.boxes_xywh[own]).float(),
            "labels": torch.from_numpy(columns.annotation_category_ids[own]),
        }
        metric.update([predicted], [target])
    with contextlib.redirect_stdout(io.StringIO()):
        return float(metric.compute()["map"])


def peak_mb(plates: int) -> float:
    """Memory that scoring adds at its peak, sampled, in a process of its own."""
    code = (
        "import threading, psutil, benchmarks.map as b\n"
        "from agar_pipeline.scoring.average_precision import coco_metrics\n"
        f"coco_metrics(*b.generate(2)); columns, detections = b.generate({plates}); me = psutil.Process()\n"
        "seen = [me.memory_info().rss]; done = threading.Event()\n"
        "def watch():\n"
        "    while not done.wait(0.002): seen.append(me.memory_info().rss)\n"
        "thread = threading.Thread(target=watch); thread.start()\n"
        "coco_metrics(columns, detections); done.set(); thread.join()\n"
        "print((max(seen) - seen[0]) / 2**20)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    import faster_coco_eval
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    columns, detections = generate(PLATES)
    plain = to_coco(columns)
    results = np.column_stack([detections.image_ids, detections.boxes_xywh, detections.scores, detections.category_ids])
    faster = (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
    contenders: dict[str, Callable[[], float]] = {
        "ours": lambda: coco_metrics(columns, detections)["map"],
        "pycocotools": lambda: by_coco_api(COCO, COCOeval, plain, results),
        "faster_coco_eval": lambda: by_coco_api(*faster, plain, results),
        "torchmetrics": lambda: by_torchmetrics(columns, detections),
    }
    scores = {name: score() for name, score in contenders.items()}
    for name, score in scores.items():
        print(f"{name}: map {score:.12f}, off by {abs(score - scores['pycocotools']):.1e}")
    seconds = by_turns(5, **contenders)
    for name in ("faster_coco_eval", "torchmetrics"):
        print(f"{name}: {statistics.median(seconds[name]) / statistics.median(seconds['ours']):.1f} times our time")
    print(f"peak memory added by ours: {peak_mb(PLATES):.0f} MB, at 10×: {peak_mb(10 * PLATES):.0f} MB")
    print_ratio("map", seconds["pycocotools"], seconds["ours"], AIM)
