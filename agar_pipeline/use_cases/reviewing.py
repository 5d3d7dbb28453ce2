"""Writes suspect labels to the FiftyOne dataset that they were found in, with saved views, and removes them again.

Here: the order of the steps. Not here: finding suspects (`review`), which values are written (`suspect_labels`), the
field and views (`suspect_fields`), applying accepted suggestions (`accepting`).
The database is written only at the user's request, and only the field and the views that this module created.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.artifacts import CocoCache, Snapshot
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected
from agar_pipeline.fiftyone_io.database.revision import CHILD, open_for_writing
from agar_pipeline.fiftyone_io.reading.observe import resolver_in_child
from agar_pipeline.fiftyone_io.reading.source import resolved_source
from agar_pipeline.fiftyone_io.writing.field_names import find_edited_views, find_view, info_of, is_declared
from agar_pipeline.fiftyone_io.writing.run_values import find_edited, remove_values, seal, write_values
from agar_pipeline.fiftyone_io.writing.suspect_fields import ABOUT, SOURCE, SuspectFields
from agar_pipeline.fiftyone_io.writing.suspect_labels import Detection, PlacedSuspects, labels_at, place_suspects
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.use_cases.reviewed_photos import read_photos
from agar_pipeline.use_cases.viewing import dataset_document, find_gone_of, require_unedited

if TYPE_CHECKING:
    import pandas as pd

FIELDS = SuspectFields()


@dataclass(frozen=True)
class WrittenSuspects:
    """The result of `write_suspects`."""

    dataset: str
    label_field: str
    suspects: int
    photos: int
    gone: list[str]
    """Paths of the photos with suspects whose samples no longer exist."""
    changed: list[str]
    """Paths of the photos of suspects that were left out, because the labels changed since the snapshot; one for each
    suspect."""
    kept: list[str]
    """File names of photos on which somebody edited or tagged earlier suspects; they were not overwritten."""
    views_kept: list[str]
    """Our saved views that somebody edited; they were not overwritten."""


def write_suspects(
    suspects: pd.DataFrame,
    snapshot: Snapshot,
    cache: CocoCache,
    about: str,
    database: str,
    home: Path,
    log: Log,
    *,
    overwrite: bool = False,
    migrate: bool = False,
) -> WrittenSuspects:
    """Write suspects to the dataset of a snapshot; earlier suspects are replaced, unless somebody edited them.

    Args:
        suspects: `suspects.parquet` of images of any part.
        snapshot: What the COCO cache was made from.
        about: Description of the field, for people.
        database: As in `SnapshotConfig`.
        overwrite: Whether suspects and views that somebody edited are replaced.

    Raises:
        DatasetError: the dataset, its label field or all of its samples no longer exist, a field of that name is not
            ours, or it has suspects about another label field that somebody edited.
    """
    rows: list[dict[str, Any]] = suspects.astype(object).where(suspects.notna(), None).to_dict("records")  # type: ignore[assignment]
    dataset, label_field = str(snapshot.dataset()["dataset"]), str(snapshot.manifest.config["label_field"])
    photos = read_photos(snapshot, cache, sorted({row["image_id"] for row in rows}))
    with open_for_writing(database, home, dataset, log, migrate=migrate) as uri, connected(uri) as mongo:
        document = dataset_document(mongo, dataset)
        config = SnapshotConfig(dataset=dataset, label_field=label_field, database=database)
        source = resolved_source(config, mongo, home, resolver_in_child(uri))
        samples = mongo[source.collection]
        if not overwrite:
            _require_same_labels(samples, document, label_field)
        gone = find_gone_of(samples, [photo.sample_id for photo in photos.values()], dataset, FIELDS.writer)
        present = _read_labels(samples, source.label_path, [photo.sample_id for photo in photos.values()])
        names = dict(enumerate(cache.class_names, start=1))
        placed = place_suspects(rows, photos, present, names)
        views_kept = [] if overwrite else find_edited_views(mongo, document, FIELDS)
        _declare(mongo, document, uri, about, label_field, views_kept, log)
        kept = _write(samples, placed, overwrite=overwrite)
    return WrittenSuspects(
        dataset,
        label_field,
        placed.count,
        len(placed.labels),
        sorted(photo.path for photo in photos.values() if photo.sample_id in gone),
        sorted(placed.changed),
        kept,
        views_kept,
    )


def _require_same_labels(samples: Collection, document: dict[str, Any], label_field: str) -> None:
    """Raise DatasetError if suspects that somebody edited or tagged are about another label field: they would stay, and
    be taken for suspects about this one.
    """
    earlier = info_of(document, FIELDS.name).get(SOURCE, label_field)
    edited = find_edited(samples, FIELDS) if earlier != label_field else []
    if edited:
        raise DatasetError(
            f"are about the labels in {earlier!r}, and those of this review about {label_field!r}; somebody tagged or "
            f"edited the earlier ones on {plural(len(edited), 'photo')} ({name_some(edited)}), so nothing was written",
            where=f"the suspects in {FIELDS.name!r} of dataset {document['name']!r}",
            next_step="`agar review --accept`, if there is anything to apply, then review again with --overwrite",
        )


def remove_suspects(
    dataset: str, database: str, home: Path, log: Log, *, overwrite: bool = False, migrate: bool = False
) -> bool:
    """Remove the field and the saved views; return whether the dataset had them.

    Raises:
        DatasetError: somebody edited or tagged suspects, or edited a view, and `overwrite` is False. Then nothing was
            removed.
    """
    with open_for_writing(database, home, dataset, log, migrate=migrate) as uri, connected(uri) as mongo:
        document = dataset_document(mongo, dataset)
        if info_of(document, FIELDS.name).get(FIELDS.mark) != FIELDS.name:
            return False
        if not overwrite:
            require_unedited(mongo, document, FIELDS, f"the field {FIELDS.name}", "suspects")
        remove_values(mongo[document["sample_collection_name"]], FIELDS, overwrite=overwrite)
        run_child(CHILD, {"do": "remove_suspects", "uri": uri, "dataset": dataset}, log)
    return True


def _read_labels(samples: Collection, label_path: str, sample_ids: Sequence[str]) -> dict[str, list[Detection]]:
    """Return sample id → its labels now, for the samples that exist."""
    wanted = {"_id": {"$in": [ObjectId(sample_id) for sample_id in sample_ids]}}
    return {str(sample["_id"]): labels_at(sample, label_path) for sample in samples.find(wanted, {label_path: 1})}


def _declare(
    mongo: Database,
    document: dict[str, Any],
    uri: str,
    about: str,
    label_field: str,
    views_kept: list[str],
    log: Log,
) -> None:
    """Declare the field and save the views, if anything of it is missing or different."""
    edited = find_edited_views(mongo, document, FIELDS)
    views = [
        name
        for name in FIELDS.views
        if name not in views_kept and (name in edited or find_view(mongo, document, name) is None)
    ]
    info = info_of(document, FIELDS.name)
    is_current = is_declared(document, FIELDS) and (info.get(SOURCE), info.get(ABOUT)) == (label_field, about)
    if views or not is_current:
        request = {"do": "declare_suspects", "uri": uri, "dataset": document["name"], "about": about}
        run_child(CHILD, request | {"label_field": label_field, "missing_views": views}, log)


def _write(samples: Collection, placed: PlacedSuspects, *, overwrite: bool) -> list[str]:
    """Replace the suspects of all samples; return the file names of those that somebody edited."""
    values = {
        ObjectId(sample_id): seal(FIELDS, {FIELDS.name: {"_cls": "Detections", "detections": labels}})
        for sample_id, labels in placed.labels.items()
    }
    remove_values(samples, FIELDS, overwrite=overwrite, but_of=values)
    return write_values(samples, FIELDS, values, overwrite=overwrite)
