"""Imports annotated images into a FiftyOne dataset; a repeated import writes only the differences.

`found_images` reads the folder, `plan` decides what is written. Samples are written in the format that FiftyOne uses,
but in bulk: 86,000 boxes take one second instead of twenty. FiftyOne itself creates the dataset and missing fields, in
a child process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage, ImportSource
from agar_pipeline.fiftyone_io.annotation_files.part_tags import Membership
from agar_pipeline.fiftyone_io.database.connection import connected
from agar_pipeline.fiftyone_io.database.documents import now
from agar_pipeline.fiftyone_io.database.revision import CHILD, open_for_writing
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.found_images import read_source
from agar_pipeline.fiftyone_io.importing.match_samples import match_samples
from agar_pipeline.fiftyone_io.importing.plan import Arrival, Planner, digest_of
from agar_pipeline.fiftyone_io.importing.writes import read_samples, write_arrivals, write_moves
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD, detections_fields
from agar_pipeline.ownership.imported_labels import RECORD_FIELD
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log, Progress
from agar_pipeline.snapshot_files.file_hashes import FileMemory

_PROGRESS = "::progress "
"""Prefix of a child's line that reports progress; it is printable because other characters of lines are escaped."""
Prepare = Callable[[str, list[str]], None]
"""Function of dataset and text fields that creates the dataset or its missing fields."""


def import_images(
    source: ImportSource,
    dataset: str,
    database: str,
    home: Path,
    log: Log,
    progress: Progress,
    *,
    migrate: bool = False,
    overwrite: bool = False,
) -> ImportCounts:
    """Import a folder of annotated images.

    Args:
        dataset: Name of the dataset, which is created if it does not exist.
        database: As in `SnapshotConfig`.
        progress: Called while images are read, and again while they are written.
        migrate: Whether FiftyOne may migrate the database if it cannot use it otherwise.
        overwrite: Whether labels that a user made or changed are replaced by those of the annotations.

    Returns:
        The result; broken files are left out and listed in `problems`.

    Raises:
        DatasetError: There is nothing to import, or the dataset cannot receive images.
        AnnotationError: A file that all images depend on cannot be understood; nothing was imported.
        DatabaseError: The database cannot be reached or used.
    """
    source = _without_dots(source)

    def listen(line: str) -> None:
        if line.startswith(_PROGRESS):
            done, total = line.removeprefix(_PROGRESS).split()
            progress(int(done), int(total))
        else:
            log(line)

    with open_for_writing(database, home, dataset, log, migrate=migrate, may_create=True) as uri:
        if source.format == "coco":  # its polygons are read by FiftyOne
            where = {"uri": uri, "home": str(home), "dataset": dataset}
            request = {"do": "import", "source": asdict(source), "overwrite": overwrite, **where}
            return ImportCounts(**run_child(CHILD, request, listen))

        def prepare(name: str, text_fields: list[str]) -> None:
            run_child(CHILD, {"do": "prepare_dataset", "uri": uri, "dataset": name, "text_fields": text_fields}, log)

        return import_at(uri, source, dataset, home, prepare, progress, overwrite=overwrite)


def _without_dots(source: ImportSource) -> ImportSource:
    """Return the source with absolute paths; symbolic links are not resolved."""
    paths = {name: getattr(source, name) for name in ("images_dir", "annotations", "training_lists")}
    absolute = {name: os.path.abspath(path) for name, path in paths.items() if path is not None}  # noqa: PTH100
    return dataclasses.replace(source, **absolute)


def progress_line(done: int, total: int) -> str:
    """Format the line with which a child process reports its progress."""
    return f"{_PROGRESS}{done} {total}"


def import_at(
    uri: str,
    source: ImportSource,
    dataset: str,
    home: Path,
    prepare: Prepare,
    progress: Progress,
    *,
    overwrite: bool = False,
) -> ImportCounts:
    """Import into the database at `uri`: read all files, then write what differs from the dataset."""
    reading, membership = read_source(source, progress)
    counts = ImportCounts(
        problems=[*reading.problems, *membership.problems],
        images_without_annotation=reading.images_without_annotation,
        annotations_without_image=reading.annotations_without_image,
        passed_over=reading.passed_over.notes(Path(source.images_dir)),
        miscounted=[image.name for image in reading.images if image.miscounted],
        lists=[asdict(count) for count in membership.counts],
        notes=reading.notes,
        renamed=reading.renamed,
        unknown_labels=reading.unknown_labels,
    )
    if not reading.images:
        return counts
    text_fields = tuple(sorted({name for image in reading.images for name in image.fields}))
    with connected(uri) as database:
        document = _prepared(database, dataset, [*text_fields, RECORD_FIELD], prepare)
        samples = database[document["sample_collection_name"]]
        list_tags = frozenset(count.tag for count in membership.counts)
        planner = Planner(document["_id"], list_tags, overwrite, now(), text_fields, counts)
        unmet = _write(samples, reading.images, membership, planner, home, progress)
        counts.vanished = [path for path in unmet if not Path(path).exists()]
        unannotated = {str(Path(source.images_dir, name)) for name in reading.images_without_annotation}
        counts.formerly_annotated = [path for path in unmet if path in unannotated]
        if counts.removed:
            database.datasets.update_one({"_id": document["_id"]}, {"$set": {"last_deletion_at": now()}})
    return counts


def _write(
    samples: Collection,
    images: list[AnnotatedImage],
    membership: Membership,
    planner: Planner,
    home: Path,
    progress: Progress,
) -> list[str]:
    """Match images with samples, and write them; return the paths of samples of earlier imports that match no image."""
    present = read_samples(samples, planner.text_fields)
    with FileMemory(home, on_read=lambda done: progress(min(done, len(images)), len(images))) as memory:
        photos = memory.look_up([str(image.path) for image in images]).sha256
        match = match_samples(images, photos, present, lambda path: memory.look_up([path]).sha256[0])
    arrivals = [
        Arrival(image, photo, digest_of(image), frozenset(membership.tags.get(image.name, ())))
        for image, photo in zip(images, photos, strict=True)
    ]
    write_moves(samples, present, match, planner)
    write_arrivals(samples, arrivals, match, planner, {sample.id for sample in present}, progress)
    met = {sample.id for sample in match.samples if sample is not None}
    others = [sample for sample in present if sample.id not in met and (sample.record or sample.of_earlier_version)]
    return sorted(match.displaced.get(sample.id, sample.filepath) for sample in others)


def _prepared(database: Database, dataset: str, text_fields: list[str], prepare: Prepare) -> dict[str, Any]:
    """Return the dataset's record after `prepare` has created the dataset or missing fields, if necessary."""
    for attempt in range(2):
        document = database.datasets.find_one({"name": dataset})
        if document is not None and _is_prepared(document, text_fields):
            return document
        if attempt == 0:
            prepare(dataset, text_fields)
    raise DatasetError(
        f"was not prepared by FiftyOne; it must be persistent, hold images, and have detections in {IMPORT_FIELD!r}",
        where=f"dataset {dataset!r}",
        next_step="import into a new dataset with --dataset NAME",
    )


def _is_prepared(document: dict[str, Any], text_fields: list[str]) -> bool:
    names = {field["name"] for field in document["sample_fields"]}
    return (
        bool(document.get("persistent"))
        and document.get("media_type") == "image"
        and names.issuperset(text_fields)
        and IMPORT_FIELD in detections_fields(document)
        and isinstance(document["_id"], ObjectId)
    )
