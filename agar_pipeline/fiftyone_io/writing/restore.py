"""Restores a snapshot into FiftyOne as a new dataset, from which the same snapshot, byte for byte, can be made.

Restored are the contents of the snapshot: samples with their ids, paths of photos, boxes with their attributes, and the
tags and fields that its split reads. Not restored is what a snapshot does not contain: other fields and tags, views,
ids of labels. FiftyOne itself creates the dataset and its label field, in a child process; the samples are written in
bulk in the format that FiftyOne uses.
"""

from __future__ import annotations

import json
import math
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
from bson import ObjectId
from pymongo.database import Database

from agar_pipeline.coco.box_formats import rel_xywh_to_xywh, xywh_to_rel_xywh
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected
from agar_pipeline.fiftyone_io.database.documents import new_sample, now
from agar_pipeline.fiftyone_io.database.revision import CHILD, open_for_writing
from agar_pipeline.ownership.inserted_samples import insertions_into, is_claimed
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.snapshot_files.file_hashes import hash_files
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.secrets import mask

_BATCH = 500
_BOX = ["x", "y", "width", "height"]
Prepare = Callable[[str, str, list[str]], None]
"""Function of dataset, label field and text fields that creates the dataset with these fields."""
_TAG, _FIELD = "view:tag:", "field:"


@dataclass(frozen=True)
class RestoreCounts:
    """Numbers of restored images and boxes, and of photos that are missing or changed."""

    images: int
    boxes: int
    label_field: str
    photos_missing: int
    """Photos that do not exist at the path in the snapshot."""
    photos_replaced: int
    """Photos whose content differs from the snapshot, so that the boxes may not fit them."""


def restore_snapshot(
    folder: Path, dataset: str, label_field: str, database: str, home: Path, log: Log, *, migrate: bool = False
) -> RestoreCounts:
    """Restore a snapshot into a new dataset.

    Args:
        dataset: Name of a dataset that does not exist or has no samples.
        label_field: Field that receives the boxes; of a nested name only the last part is used, because a new dataset
            has no field to nest it in.
        database: As in `SnapshotConfig`.
        migrate: Whether FiftyOne may migrate the database if it cannot use it otherwise.

    Raises:
        DatasetError: The dataset already has samples, or does not hold images.
        DatabaseError: The database cannot be reached or used.
    """
    if "." in label_field:
        nested, label_field = label_field, label_field.rpartition(".")[2]
        log(f"note: label field {nested!r} is nested: the boxes go into {label_field!r}")
    for column in unrestorable(_read_columns(folder)):
        log(f"note: the snapshot's split reads {column!r}, which cannot be restored: create it yourself in FiftyOne")
    missing, replaced = _compare_photos(folder, home)
    with open_for_writing(database, home, dataset, log, migrate=migrate, may_create=True) as uri:

        def prepare(name: str, field: str, text_fields: list[str]) -> None:
            request = {"uri": uri, "dataset": name, "text_fields": text_fields, "label_field": field}
            run_child(CHILD, {"do": "prepare_dataset", **request}, log)

        images, boxes = restore_at(uri, folder, dataset, label_field, database, prepare, log)
    return RestoreCounts(images, boxes, label_field, missing, replaced)


def restore_at(
    uri: str, folder: Path, dataset: str, label_field: str, where: str, prepare: Prepare, log: Log
) -> tuple[int, int]:
    """Restore into the database at `uri`, named `where` in messages; return the numbers of images and boxes.

    If it is interrupted, also by Ctrl-C, the samples that it inserted are removed again, and no others.
    """
    with connected(uri) as database:
        if not is_claimed(
            database, dataset
        ):  # without a claim, no samples of an interrupted restore will be removed first
            _require_empty(database, dataset, where)
        with insertions_into(database, dataset, log) as insertions:
            _require_empty(database, dataset, where)
            prepare(dataset, label_field, sorted(_text_fields(_read_columns(folder)).values()))
            document = database.datasets.find_one({"name": dataset})
            if document is None:
                raise DatasetError(
                    "was not created by FiftyOne; nothing was restored",
                    where=f"dataset {dataset!r}",
                    next_step="check the database with `agar launch-check`, then restore again",
                )
            samples = database[document["sample_collection_name"]]
            images = boxes = 0
            for batch in _documents(folder, document["_id"], label_field):
                insertions.insert(samples, batch)
                images += len(batch)
                boxes += sum(len((sample[label_field] or {"detections": []})["detections"]) for sample in batch)
            others = samples.count_documents({}) - images
    if others > 0:
        log(f"note: somebody else added samples to dataset {dataset!r} meanwhile, which are kept: {others}")
    return images, boxes


def _require_empty(database: Database, dataset: str, where: str) -> None:
    document = database.datasets.find_one({"name": dataset})
    if document is None:
        return
    count = database[document["sample_collection_name"]].count_documents({})
    if count:
        raise DatasetError(
            f"exists and holds {plural(count, 'sample')}; nothing was restored",
            where=f"dataset {dataset!r} of database {mask(where)}",
            next_step="choose another name with --dataset",
        )


def _compare_photos(folder: Path, home: Path) -> tuple[int, int]:
    """Count the photos that do not exist, and those whose content differs from the snapshot."""
    root = _images_dir(folder)
    images = pq.read_table(folder / "images.parquet", columns=["path", "sha256"]).to_pydict()
    wanted = {str(root / path): sha256 for path, sha256 in zip(images["path"], images["sha256"], strict=True)}
    present = [path for path in wanted if Path(path).is_file()]
    found = hash_files(present, home).sha256
    replaced = sum(wanted[path] != sha256 for path, sha256 in zip(present, found, strict=True))
    return len(wanted) - len(present), replaced


def _images_dir(folder: Path) -> Path:
    return Path(json.loads((folder / "dataset.json").read_text())["images_dir"])


def _documents(folder: Path, dataset_id: ObjectId, label_field: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the samples as FiftyOne stores them, in batches."""
    root = _images_dir(folder)
    images = pq.read_table(folder / "images.parquet").to_pylist()
    image_ids = np.array([image["image_id"] for image in images], dtype=np.int64)
    detections, starts = _detections(folder, images, image_ids)
    split_columns = _read_columns(folder)
    stamp = now()
    for start in range(0, len(images), _BATCH):
        yield [
            {
                **new_sample(dataset_id, str(root / image["path"]), _metadata(image), stamp),
                "_id": ObjectId(image["sample_id"]),
                "tags": [
                    name.removeprefix(_TAG)
                    for name in split_columns
                    if name.startswith(_TAG) and split_columns[name][row]
                ],
                **{field: split_columns[name][row] for name, field in _text_fields(split_columns).items()},
                label_field: {"_cls": "Detections", "detections": detections[starts[row] : starts[row + 1]]}
                if image.get("labelled", True)  # column missing in snapshots of earlier versions
                else None,
            }
            for row, image in enumerate(images[start : start + _BATCH], start=start)
        ]


def _read_columns(folder: Path) -> dict[str, list[Any]]:
    """Read the columns for the split that `image_ids.write_image_ids` wrote."""
    table = pq.read_table(folder / "image_ids.parquet")
    return {name: table[name].to_pylist() for name in table.column_names if name.startswith(("view:", _FIELD))}


def _text_fields(columns: Iterable[str]) -> dict[str, str]:
    """Map columns to text fields; values of any type become text, because a split reads all values as text."""
    fields = {name: name.removeprefix(_FIELD) for name in columns if name.startswith(_FIELD)}
    return {name: field for name, field in fields.items() if "." not in field and field != "filepath"}


def unrestorable(columns: Iterable[str]) -> list[str]:
    """List the columns that cannot be restored: those of nested fields, and of views other than `tag:NAME`."""
    names = list(columns)
    known = {*_text_fields(names), f"{_FIELD}filepath"}
    return [name for name in names if not (name in known or name.startswith((_TAG, f"{_FIELD}metadata.")))]


def _metadata(image: dict[str, Any]) -> dict[str, Any]:
    mime_type, _ = mimetypes.guess_type(image["path"])
    sizes = {key: image[key] for key in ("size_bytes", "width", "height")}
    return {"_cls": "ImageMetadata", "mime_type": mime_type, **sizes}


def _detections(
    folder: Path, images: list[dict[str, Any]], image_ids: np.ndarray
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the detections of all images in order, and the (N + 1,) start of each image's detections."""
    boxes = pq.read_table(folder / "boxes.parquet")
    rows = np.searchsorted(image_ids, boxes["image_id"].to_numpy())  # both tables are sorted by image
    sizes_wh = np.array([(image["width"], image["height"]) for image in images], dtype=np.float64).reshape(-1, 2)
    boxes_xywh = np.stack([boxes[side].to_numpy() for side in _BOX], axis=1)
    boxes_rel_xywh = exact_rel_xywh(boxes_xywh, sizes_wh[rows]).tolist()
    columns = (boxes[name].to_pylist() for name in ("label", "iscrowd", "attributes"))
    detections = [
        {"_id": ObjectId(), "_cls": "Detection", **rest_of(attributes, iscrowd), "label": label, "bounding_box": box}
        for label, iscrowd, attributes, box in zip(*columns, boxes_rel_xywh, strict=True)
    ]
    return detections, np.searchsorted(rows, np.arange(len(images) + 1))


def rest_of(attributes: str | None, iscrowd: bool) -> dict[str, Any]:
    """Return a detection's values except label and box, so that `mongo_columns.decode` reads the same text again."""
    rest = orjson.loads(attributes) if attributes else {}
    # a snapshot drops None and stores NaN as null, so a null here was NaN
    rest = {key: math.nan if value is None else value for key, value in rest.items()}
    if iscrowd or "attributes" in rest:  # the field takes precedence over FiftyOne's older attributes
        rest["iscrowd"] = iscrowd
    return {"attributes": {}, "tags": [], **rest}


def exact_rel_xywh(boxes_xywh: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Like `xywh_to_rel_xywh`, but choose shares that give the same float64 when they are scaled to pixels again.

    The quotient itself may not do so: (1 / 49) × 49 is less than 1 in float64. For boxes that were scaled from shares
    an exact share exists at most two floats away from the quotient, because each of the two roundings moves it by at
    most one. Values without an exact share keep the quotient.

    >>> share = exact_rel_xywh(np.array([[1.0, 1.0, 1.0, 1.0]]), np.array([[49.0, 49.0]]))
    >>> bool(1 / 49 * 49 == 1), bool((share * 49 == 1).all())
    (False, True)
    """
    exact = xywh_to_rel_xywh(boxes_xywh, sizes_wh)
    above = below = exact
    for _ in range(2):
        above, below = np.nextafter(above, np.inf), np.nextafter(below, -np.inf)
        for candidate in (above, below):
            wrong = rel_xywh_to_xywh(exact, sizes_wh) != boxes_xywh
            right = rel_xywh_to_xywh(candidate, sizes_wh) == boxes_xywh
            exact = np.where(wrong & right, candidate, exact)
    return exact
