"""Writes a folder of `agar predict --out-dir` into a FiftyOne dataset of its own, so that a person can correct it.

Here: the order of the steps. Not here: the folder (`counted_folder`), the samples (`counted_samples`).
Only datasets that this module created are written or deleted; the photos stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected, open_database
from agar_pipeline.fiftyone_io.database.revision import CHILD, open_for_writing
from agar_pipeline.fiftyone_io.writing.counted_samples import (
    describe_edits,
    insert_missing,
    is_prepared,
    remove_samples,
    set_written,
)
from agar_pipeline.fiftyone_io.writing.run_values import mark_confirmed
from agar_pipeline.fiftyone_io.writing.write_back import write_back
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.use_cases.counted_folder import (
    ANNOTATED,
    FIELDS,
    find_dataset,
    predictions_hash,
    read_counted,
)


@dataclass(frozen=True)
class WrittenFolder:
    """The result of `write_counted`."""

    dataset: str
    plates: int
    boxes: int
    kept: list[str]
    """File names of photos whose predictions somebody edited, or tagged as annotated; they were not overwritten."""
    missing: list[str]
    """Photos that are not at their place."""
    others: int
    """Samples of the dataset that are not photos of the folder now."""


def require_own(folder: Path, database: str, home: Path) -> None:
    """Raise DatasetError, before long work begins, if `write_counted` would refuse the dataset of this folder."""
    with open_database(database, home) as uri, connected(uri) as mongo:
        _find_or_refuse(mongo, folder.absolute(), None, folder.name)


def write_counted(
    folder: Path,
    dataset: str | None,
    database: str,
    home: Path,
    log: Log,
    *,
    overwrite: bool = False,
    migrate: bool = False,
) -> WrittenFolder:
    """Write the photos and predictions of a counted folder into a dataset; what somebody edited there stays.

    Args:
        folder: As `agar predict --out-dir` wrote it.
        dataset: Name of the dataset; None takes the one that was made of the folder, or else the folder's name.
        database: As in `SnapshotConfig`.
        overwrite: Whether predictions that somebody edited are replaced.

    Raises:
        ArtifactError: the folder holds no predictions.
        DatasetError: a dataset of this name exists that was not made of this folder.
    """
    folder = folder.absolute()
    source, sha256 = read_counted(folder, dataset or folder.name), predictions_hash(folder)
    missing = [image for image, path in zip(source.images, source.photos, strict=True) if not path.is_file()]
    opened = open_for_writing(database, home, source.dataset, log, migrate=migrate, may_create=True)
    with opened as uri, connected(uri) as mongo:
        document = _find_or_refuse(mongo, folder, dataset, source.dataset)
        name = source.dataset if document is None else str(document["name"])
        if document is None or not is_prepared(document):
            request = {"uri": uri, "dataset": name, "field": FIELDS.name, "folder": str(folder)}
            run_child(CHILD, {"do": "prepare_counted", "class_names": list(source.categories), **request}, log)
            document = find_dataset(mongo, folder, name)
        assert document is not None
        samples = mongo[document["sample_collection_name"]]
        insert_missing(samples, document["_id"], source.photos, source.photo_sizes_wh.tolist())
        mark_confirmed(samples, FIELDS, ANNOTATED)
        kept = write_back(samples, FIELDS, source.boxes, overwrite=overwrite)
        set_written(mongo, document, sha256)
        others = samples.count_documents({}) - len(source.images)
    return WrittenFolder(name, len(source.images), len(source.boxes.labels), kept, missing, others)


def _find_or_refuse(database: Database, folder: Path, dataset: str | None, default: str) -> dict[str, Any] | None:
    """The dataset that was made of a folder, or None: then one can be made under its own or the default name."""
    return find_dataset(database, folder, dataset) or find_dataset(database, folder, default)


def remove_counted(
    folder: Path,
    dataset: str | None,
    database: str,
    home: Path,
    log: Log,
    *,
    overwrite: bool = False,
    migrate: bool = False,
) -> str:
    """Delete the dataset that was made of a counted folder, and return its name.

    Raises:
        DatasetError: there is none; or somebody edited it, and `overwrite` is False. Then nothing was removed.
    """
    folder = folder.absolute()
    with open_database(database, home) as uri, connected(uri) as mongo:
        document = find_dataset(mongo, folder, dataset)
    if document is None:
        raise DatasetError(
            "is in no dataset of this database", where=folder, next_step="name the dataset with --dataset"
        )
    name = str(document["name"])
    with open_for_writing(database, home, name, log, migrate=migrate) as uri, connected(uri) as mongo:
        if not overwrite:
            if edits := describe_edits(mongo, document, FIELDS):
                raise DatasetError(
                    f"was edited by somebody ({'; '.join(edits)}), so nothing was removed",
                    where=f"dataset {name!r}",
                    next_step="save the corrections with `agar count --corrected --export`, then give --overwrite",
                )
            remove_samples(mongo[document["sample_collection_name"]], FIELDS)
        run_child(CHILD, {"do": "remove_counted", "uri": uri, "dataset": name, "overwrite": overwrite}, log)
    return name
