"""A FiftyOne dataset of AGAR's shape at any size, filled by raw inserts into an embedded database of its own."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from bson import ObjectId, encode
from bson.raw_bson import RawBSONDocument

IMAGES = 4_431
BOXES = 86_476
SIDE_PX = 256
"""Side of the photos, which hold noise: one bit for each pixel, 8 kB for each file. The check of image
files (`labels/file_facts.py`) decodes a photo with less than 0.1 bytes for each pixel, because it may be blank."""
CLASSES = ("S.aureus", "B.subtilis", "P.aeruginosa", "E.coli", "C.albicans")
_LINKS = 20_000
"""Names per file: hard links are quick, and file systems allow 65,000."""
_BATCH = 1_000


@contextmanager
def temporary_database() -> Iterator[tuple[Path, str]]:
    """A folder for a while, and the address of the embedded database of the home in it.

    Its mongod outlives the folder by some seconds: what it writes meanwhile must not fail the benchmark.
    """
    from agar_pipeline.fiftyone_io.database.connection import open_database

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        open_database("embedded", Path(name) / "home") as uri,
    ):
        yield Path(name), uri


def fill(
    uri: str, images_dir: Path, name: str, images: int = IMAGES, boxes: int = BOXES, *, alike: bool = True
) -> None:
    """Make dataset `name` and its (tiny) image files: names of a few files, or where not `alike`, each of its own.

    FiftyOne makes the dataset; the samples are written as it writes them, by hand.
    """
    import pymongo

    from agar_pipeline.fiftyone_io.database.revision import CHILD
    from agar_pipeline.processes.launch import run_child

    request = {"do": "prepare_dataset", "uri": uri, "dataset": name, "text_fields": []}
    run_child(CHILD, request, lambda line: None)
    paths = _write_images(images_dir, images, alike)
    with pymongo.MongoClient(uri) as client:
        database = client["fiftyone"]
        document = next(database["datasets"].find({"name": name}))
        samples = database[document["sample_collection_name"]]
        batch: list[RawBSONDocument] = []
        for sample in _samples(paths, boxes, document["_id"]):
            batch.append(sample)
            if len(batch) == _BATCH:
                samples.insert_many(batch)
                batch = []
        if batch:
            samples.insert_many(batch)


def _write_images(images_dir: Path, count: int, alike: bool) -> list[str]:
    from PIL import Image

    images_dir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [f"{images_dir}/{number // 10_000:04d}/{number:07d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if number % 10_000 == 0:
            Path(path).parent.mkdir(exist_ok=True)
        if number % _LINKS == 0:
            Image.fromarray(rng.random((SIDE_PX, SIDE_PX)) < 0.5).save(path)
            original, content = path, Path(path).read_bytes()
        elif alike:
            os.link(original, path)
        if not alike:
            Path(path).write_bytes(content + str(number).encode())  # after a PNG's end anything may stand
    return paths


def _samples(paths: list[str], boxes_in_all: int, dataset_id: ObjectId) -> Iterator[RawBSONDocument]:
    rng = np.random.default_rng(0)
    per_image = _boxes_per_image(rng, len(paths), boxes_in_all)
    now = datetime(2026, 1, 1)
    for path, count in zip(paths, per_image.tolist(), strict=True):
        sides = rng.uniform(0.01, 0.08, (count, 2))
        boxes = np.concatenate([rng.uniform(0, 0.9, (count, 2)), sides], axis=1).tolist()
        labels = rng.integers(0, len(CLASSES), count).tolist()
        yield RawBSONDocument(encode(_sample(path, boxes, labels, dataset_id, now)))


def _boxes_per_image(rng: np.random.Generator, images: int, boxes: int) -> np.ndarray:
    """(N,) counts that sum to `boxes`: most plates have few colonies, some have hundreds."""
    weights = rng.lognormal(0, 1.2, images)
    return rng.multinomial(boxes, weights / weights.sum())


def _sample(path: str, boxes: list[Any], labels: list[int], dataset_id: ObjectId, now: datetime) -> dict[str, Any]:
    detections = [
        {
            "_id": ObjectId(),
            "_cls": "Detection",
            "attributes": {},
            "tags": [],
            "label": CLASSES[label],
            "bounding_box": box,
        }
        for label, box in zip(labels, boxes, strict=True)
    ]
    return {
        "_id": ObjectId(),
        "filepath": path,
        "tags": ["train"],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": 1000,
            "mime_type": "image/png",
            "width": SIDE_PX,
            "height": SIDE_PX,
            "num_channels": 1,
        },
        "_media_type": "image",
        "_rand": random.random(),
        "_dataset_id": dataset_id,
        "created_at": now,
        "last_modified_at": now,
        "ground_truth": {"_cls": "Detections", "detections": detections},
    }
