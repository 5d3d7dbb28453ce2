"""Kinds of errors onto the samples: matching and bulk write against `evaluate_detections(eval_key=…)`.

Both begin with plates whose annotations and predictions are there already (ours in columns, FiftyOne's in its
database, where it needs them) and end with a kind for every box in the database. FiftyOne's matching is quadratic in
the boxes of a plate: the turns are taken on a few plates of 100 boxes, and ours is timed on 887 of them as well.
CPU seconds of this process: the database works for both.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
from bson import ObjectId

from benchmarks._dataset import temporary_database
from benchmarks._timing import by_turns, print_ratio

ROUNDS = 5
PLATES, ALL_PLATES, BOXES = 3, 887, 100
SIDE = 2048
_runs = itertools.count()
"""Each turn writes a run of its own: what is there already would not be written again."""


def main() -> None:
    from agar_pipeline.fiftyone_io.database.connection import connect
    from agar_pipeline.fiftyone_io.reading.view import import_fiftyone

    with temporary_database() as (_, uri):
        fiftyone = import_fiftyone(uri, may_write=True)
        with connect(uri) as client:
            database = client["fiftyone"]
            few, all_ids = (_fill(fiftyone, database, f"plates_{count}", count) for count in (PLATES, ALL_PLATES))
            dataset = fiftyone.load_dataset(f"plates_{PLATES}")
            seconds = by_turns(
                ROUNDS,
                clock=time.process_time,
                fiftyone=lambda: dataset.evaluate_detections("predicted", gt_field="ground_truth", eval_key="e"),
                ours=lambda: _write(database, f"plates_{PLATES}", few),
            )
            whole = by_turns(1, clock=time.process_time, ours=lambda: _write(database, f"plates_{ALL_PLATES}", all_ids))
    print_ratio("write_back", seconds["fiftyone"], seconds["ours"], aim=100)
    print(f"write_back: ours {whole['ours'][0]:.2f} CPU s on {ALL_PLATES} plates of {BOXES} boxes (aim below 5)")


def _boxes(plate: int) -> tuple[np.ndarray, np.ndarray]:
    """(B, 4) annotated and predicted xywh of a plate, pixels; the predictions a little off."""
    rng = np.random.default_rng(plate)
    truth = np.concatenate([rng.uniform(0, SIDE - 120, (BOXES, 2)), rng.uniform(20, 100, (BOXES, 2))], axis=1)
    return truth, truth + rng.normal(0, 3, truth.shape)


def _fill(fiftyone: Any, database: Any, name: str, plates: int) -> list[str]:
    """A dataset with annotations and predictions; returns its sample ids."""
    from agar_pipeline.fiftyone_io.importing.prepare_dataset import prepare_dataset

    for field in ("ground_truth", "predicted"):
        prepare_dataset(fiftyone, name, [], print, field)
    document = database.datasets.find_one({"name": name})
    samples = [
        {
            "_id": ObjectId(),
            "_media_type": "image",
            "_rand": 0.5,
            "_dataset_id": document["_id"],
            "filepath": f"/plates/{plate}.jpg",
            "tags": [],
            "metadata": {"_cls": "ImageMetadata", "width": SIDE, "height": SIDE},
            "ground_truth": _detections(_boxes(plate)[0], {}),
            "predicted": _detections(_boxes(plate)[1], {"confidence": 0.9}),
        }
        for plate in range(plates)
    ]
    database[document["sample_collection_name"]].insert_many(samples)
    return [str(sample["_id"]) for sample in samples]


def _detections(boxes_xywh: np.ndarray, more: dict[str, Any]) -> dict[str, Any]:
    plain = {"_cls": "Detection", "attributes": {}, "tags": [], "label": "E.coli", **more}
    boxes = [{"_id": ObjectId(), **plain, "bounding_box": box} for box in (boxes_xywh / SIDE).tolist()]
    return {"_cls": "Detections", "detections": boxes}


def _write(database: Any, name: str, sample_ids: list[str]) -> None:
    """Match, and write predictions, kinds and count errors."""
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.coco.detections import Detections
    from agar_pipeline.fiftyone_io.writing.field_names import RunFields
    from agar_pipeline.fiftyone_io.writing.write_back import PlateBoxes, write_back
    from agar_pipeline.scoring.matching import match_detections

    truth, predicted = (np.concatenate(both) for both in zip(*map(_boxes, range(len(sample_ids))), strict=True))
    plates, total = np.repeat(np.arange(len(sample_ids)), BOXES), len(truth)
    sizes_wh = np.full((len(sample_ids), 2), SIDE)
    columns = CocoColumns(
        np.arange(len(sample_ids)),
        np.array([f"{plate}.jpg" for plate in range(len(sample_ids))], dtype=object),
        sizes_wh,
        np.arange(total),
        plates,
        np.ones(total, np.int64),
        truth,
        np.zeros(total, bool),
        np.array([1]),
        ("E.coli",),
    )
    scores = np.full(total, 0.9)
    matches = match_detections(columns, Detections(plates, np.ones(total, np.int64), predicted, scores))
    samples = database[database.datasets.find_one({"name": name})["sample_collection_name"]]
    labels = np.full(total, "E.coli", dtype=object)
    boxes = PlateBoxes(
        sample_ids,
        sizes_wh,
        np.zeros(len(sample_ids), np.int64),
        plates,
        labels,
        matches.detection_kinds,
        scores,
        predicted,
    )
    write_back(samples, RunFields(f"agar_benchmark_{next(_runs)}"), boxes)


if __name__ == "__main__":
    main()
