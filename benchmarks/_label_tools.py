"""What other tools say about the labels, as suspects in one form: cleanlab, FiftyOne's Brain, hotcoco.

Here: calling each with the same annotations and predictions. Not here: what was planted (`_planted_errors`).
A tool that ranks only within a kind of error is ranked over kinds by its scores as they are.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections

SIDES = ["x", "y", "width", "height"]


def suspects_of(rows: list[tuple[str, int, int, float, np.ndarray]]) -> pd.DataFrame:
    """From (what the tool calls it, image_id, annotation_id or −1, score, box) to a table, the worst first."""
    plain = [(called, image, annotation, score, *box) for called, image, annotation, score, box in rows]
    table = pd.DataFrame(plain, columns=["called", "image_id", "annotation_id", "score", *SIDES])
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def by_image(columns: CocoColumns, detections: Detections) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Image id, rows of its annotations, rows of its detections."""
    for image in columns.image_ids.tolist():
        yield (
            image,
            np.flatnonzero(columns.annotation_image_ids == image),
            np.flatnonzero(detections.image_ids == image),
        )


ALPHA = 0.9
"""Weight of IoU against distance in cleanlab's similarity of two boxes: its own default."""


def by_cleanlab(columns: CocoColumns, detections: Detections, high: float = 0.95, low: float = 0.5) -> pd.DataFrame:
    """Overlooked, badly located and swapped boxes; 1 − its quality ranks. The defaults are cleanlab's thresholds."""
    from cleanlab.object_detection import rank

    order = np.sort(columns.category_ids)
    labels, predictions = [], []
    for _, own, found in by_image(columns, detections):
        labels.append(
            {
                "bboxes": _xyxy(columns.boxes_xywh[own]),
                "labels": np.searchsorted(order, columns.annotation_category_ids[own]),
            }
        )
        scored = np.column_stack([_xyxy(detections.boxes_xywh[found]), detections.scores[found]])
        per_class = [scored[detections.category_ids[found] == category] for category in order]
        predictions.append(np.array([*per_class, None], dtype=object)[:-1])
    # compared once for all three scores; each function of cleanlab would compare all boxes of a photo again
    pairs = rank._get_valid_inputs_for_compute_scores(ALPHA, labels, predictions)
    given: dict[str, Any] = {"auxiliary_inputs": pairs, "alpha": ALPHA}
    overlooked = rank.compute_overlooked_box_scores(**given, high_probability_threshold=high)
    located = rank.compute_badloc_box_scores(**given, low_probability_threshold=low)
    swapped = rank.compute_swap_box_scores(**given, high_probability_threshold=high)
    rows = []
    for at, (image, own, found) in enumerate(by_image(columns, detections)):
        by_class = np.concatenate([found[detections.category_ids[found] == category] for category in order])
        for row, score in zip(by_class.tolist(), overlooked[at].tolist(), strict=True):
            if not np.isnan(score):
                rows.append(("overlooked", image, -1, 1 - score, detections.boxes_xywh[row]))
        for called, qualities in (("located", located[at]), ("swapped", swapped[at])):
            for row, quality in zip(own.tolist(), qualities.tolist(), strict=True):
                annotation = int(columns.annotation_ids[row])
                rows.append((called, image, annotation, 1 - quality, columns.boxes_xywh[row]))
    return suspects_of(rows)


def by_hotcoco(columns: CocoColumns, detections: Detections) -> pd.DataFrame:
    """The candidates of `image_diagnostics` for wrong labels and missing annotations, by the detection's score."""
    import hotcoco

    rows = np.arange(len(columns.annotation_ids))
    boxes = columns.boxes_xywh
    truth = hotcoco.COCO(
        {
            "images": [{"id": i, "width": w, "height": h, "file_name": ""} for i, (w, h) in _sizes(columns)],
            "categories": [{"id": i, "name": name} for i, name in columns.names.items()],
            "annotations": [
                {"id": row + 1, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3]}
                | {"iscrowd": 0}
                for row, image, category, box in zip(
                    rows.tolist(),
                    columns.annotation_image_ids.tolist(),
                    columns.annotation_category_ids.tolist(),
                    boxes.tolist(),
                    strict=True,
                )
            ],
        }
    )
    plain = detections.to_coco()
    evaluation = hotcoco.COCOeval(truth, truth.load_res(plain), "bbox")
    evaluation.evaluate()
    found = []
    for one in evaluation.image_diagnostics(score_thr=0.05)["label_errors"]:
        if one["gt_id"]:
            row = one["gt_id"] - 1
            place = int(columns.annotation_ids[row]), one["dt_score"], boxes[row]
        else:
            place = -1, one["dt_score"], np.array(plain[one["dt_id"] - 1]["bbox"])
        found.append((one["type"], one["image_id"], *place))
    return suspects_of(found)


def by_fiftyone(columns: CocoColumns, detections: Detections) -> pd.DataFrame:
    """`_by_fiftyone` in a process of its own: FiftyOne keeps the first database that it was given."""
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "given", Path(scratch) / "answer"
        given.write_bytes(pickle.dumps((columns, detections)))
        subprocess.run([sys.executable, "-m", __name__, str(given), str(answer)], check=True)
        return pd.read_pickle(answer)


def _by_fiftyone(columns: CocoColumns, detections: Detections) -> pd.DataFrame:
    """`compute_mistakenness`, without its cut of missing objects at a confidence of 0.95.

    An annotation that is called spurious has the score 1; a missing object has its confidence.
    """
    from benchmarks._dataset import temporary_database

    with temporary_database() as (_, uri):
        os.environ["FIFTYONE_DATABASE_URI"] = uri
        import fiftyone as fo
        import fiftyone.brain as fob
        from fiftyone.brain.internal.core import mistakenness
        from mongoengine.base import BaseDocument

        BaseDocument._clear_changed_fields = _forget_changes
        mistakenness._MISSED_CONFIDENCE_THRESHOLD = 0.05
        fo.config.show_progress_bars = False
        dataset = fo.Dataset()
        samples, names = [], columns.names
        sizes = dict(_sizes(columns))
        for image, own, found in by_image(columns, detections):
            size = np.tile(sizes[image], 2)

            def labels(rows: np.ndarray, of: np.ndarray, ids: np.ndarray, size: np.ndarray = size, **more: Any) -> Any:
                boxes = (of[rows] / size).tolist()
                each = [
                    fo.Detection(label=names[i], bounding_box=box, row=row)
                    for row, i, box in zip(rows.tolist(), ids[rows].tolist(), boxes, strict=True)
                ]
                for detection in each if more else ():
                    detection.confidence = float(detections.scores[detection.row])
                return fo.Detections(detections=each)

            sample = fo.Sample(filepath=f"/{image}.jpg", image=image)
            sample["truth"] = labels(own, columns.boxes_xywh, columns.annotation_category_ids)
            sample["found"] = labels(found, detections.boxes_xywh, detections.category_ids, scored=True)
            samples.append(sample)
        dataset.add_samples(samples)
        fob.compute_mistakenness(dataset, "found", label_field="truth")
        rows = []
        for sample in dataset:
            for one in sample["truth"].detections:
                spurious = float(one.get_attribute_value("possible_spurious", False) or 0)
                for called, score in (("spurious", spurious), ("class", _of(one)), ("box", _of(one, "_loc"))):
                    place = int(columns.annotation_ids[one.row]), score, columns.boxes_xywh[one.row]
                    rows.append((called, sample["image"], *place))
            for one in sample["found"].detections:
                if one.get_attribute_value("possible_missing", False):
                    place = -1, one.confidence, detections.boxes_xywh[one.row]
                    rows.append(("missing", sample["image"], *place))
        return suspects_of(rows)


def _forget_changes(document: Any) -> None:
    """Mark nothing in a saved document as changed. mongoengine's own takes a time that is quadratic in the boxes of a
    photo: an hour for the colonies.
    """
    nested = list(document._data.values())
    while nested:
        value = nested.pop()
        if hasattr(value, "_changed_fields"):
            _forget_changes(value)
        elif isinstance(value, dict):
            nested += value.values()
        elif isinstance(value, (list, tuple)):
            nested += value
    document._changed_fields = []


def _of(label: Any, which: str = "") -> float:
    return float(label.get_attribute_value(f"mistakenness{which}", 0) or 0)


def _sizes(columns: CocoColumns) -> list[tuple[int, list[int]]]:
    return list(zip(columns.image_ids.tolist(), columns.sizes_wh.tolist(), strict=True))


def _xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


if __name__ == "__main__":
    _by_fiftyone(*pickle.loads(Path(sys.argv[1]).read_bytes())).to_pickle(sys.argv[2])
    os._exit(0)  # else FiftyOne looks for its database, which is gone
