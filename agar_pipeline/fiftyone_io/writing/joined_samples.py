"""Annotated samples of one dataset inserted into another one, with pymongo; samples that exist there are not changed.

Here: reading and inserting the samples. Not here: which of them are annotated, and their classes (`use_cases`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.collection import Collection

from agar_pipeline.fiftyone_io.database.documents import detection, detections, new_sample, now
from agar_pipeline.fiftyone_io.writing.run_values import apply_updates

_BATCH = 500
Sample = Mapping[str, Any]


def read_tagged(samples: Collection, tag: str, field: str) -> list[dict[str, Any]]:
    """The samples with a tag, sorted by path: `filepath`, `metadata`, `tags` and the field."""
    kept = {"filepath": 1, "metadata": 1, "tags": 1, field: 1}
    return sorted(samples.find({"tags": tag}, kept), key=lambda sample: str(sample["filepath"]))


def find_paths(samples: Collection, paths: Sequence[str]) -> set[str]:
    """Those of the paths that have a sample."""
    found: set[str] = set()
    for start in range(0, len(paths), _BATCH):
        rows = samples.find({"filepath": {"$in": list(paths[start : start + _BATCH])}}, {"filepath": 1})
        found |= {str(row["filepath"]) for row in rows}
    return found


def insert_annotated(
    samples: Collection,
    dataset_id: ObjectId,
    label_field: str,
    annotated: Iterable[tuple[Sample, Sequence[tuple[str, list[float]]]]],
) -> None:
    """Insert one sample each, with boxes in `label_field`.

    Args:
        samples: Of the dataset that receives them.
        dataset_id: Of the same dataset.
        label_field: Its field of annotations.
        annotated: Sample as `read_tagged` returns it, and (label, box relative to the photo) of each annotation.
    """
    stamp, inserts = now(), []
    for sample, boxes in annotated:
        labels = {label_field: detections(detection(*box) for box in boxes)}
        new = new_sample(dataset_id, sample["filepath"], sample.get("metadata"), stamp, **labels)
        inserts.append(UpdateOne({"_id": sample["_id"]}, {"$setOnInsert": new}, upsert=True))
    apply_updates(samples, inserts)
