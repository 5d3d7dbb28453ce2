"""A snapshot of 4,431 samples and 86,476 boxes against FiftyOne's own export, and against the bare column read.

All on one database, by turns. Ours is the whole of it: two looks at the data, the files' times, Parquet.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks._dataset import fill, temporary_database
from benchmarks._timing import by_turns, print_ratio

ROUNDS = 5
NAME = "agar_shape"


def main() -> None:
    from agar_pipeline.config import SnapshotConfig
    from agar_pipeline.fiftyone_io.database.connection import connect
    from agar_pipeline.fiftyone_io.reading.observe import resolver_in_child
    from agar_pipeline.fiftyone_io.reading.read import read_at

    with temporary_database() as (folder, uri):
        home, out_dir = folder / "home", folder / "out"
        out_dir.mkdir()
        fill(uri, folder / "images", NAME)
        time.sleep(1.5)  # files that were changed a moment ago are not remembered yet
        config, resolve = SnapshotConfig(dataset=NAME, database_notice=False), resolver_in_child(uri)
        dataset = _load(uri)

        def snapshot() -> None:
            read_at(uri, config, home, out_dir, lambda line: None, resolve)

        with connect(uri) as client:
            samples = client["fiftyone"][dataset._sample_collection_name]
            bare = by_turns(2 * ROUNDS, bare=lambda: list(samples.aggregate(BARE)), ours=snapshot)
        export = by_turns(ROUNDS, fiftyone=lambda: _export(dataset, folder / "export"), ours=snapshot)
    print_ratio("snapshot", export["fiftyone"], export["ours"], aim=25)
    print_ratio("snapshot_bare_read", bare["bare"], bare["ours"], aim=1 / 1.5)


BARE: list[dict[str, Any]] = [
    {"$sort": {"_id": 1}},
    {
        "$project": {
            "filepath": 1,
            "width": "$metadata.width",
            "height": "$metadata.height",
            "label": "$ground_truth.detections.label",
            "box": "$ground_truth.detections.bounding_box",
        }
    },
]
"""The columns of a snapshot, decoded to Python by pymongo, and nothing else."""


def _load(uri: str) -> Any:
    from agar_pipeline.fiftyone_io.reading.view import import_fiftyone

    fiftyone = import_fiftyone(uri, may_write=True)
    fiftyone.config.show_progress_bars = False
    return fiftyone.load_dataset(NAME)


def _export(dataset: Any, folder: Path) -> None:
    import fiftyone

    dataset.export(
        dataset_type=fiftyone.types.COCODetectionDataset,
        labels_path=str(folder / "labels.json"),
        label_field="ground_truth",
        export_media=False,
    )
