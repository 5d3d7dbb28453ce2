"""Writes an evaluation to its FiftyOne dataset: predictions, kinds of errors and count errors; opens the App.

Here: the order of the steps. Not here: the predictions (`predicted_plates`), which values are written (`write_back`),
using the FiftyOne library (`run_fields`, in a child process).
The database is written only at the user's request, and only fields that this module created.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected, open_database
from agar_pipeline.fiftyone_io.database.revision import CHILD, open_for_writing
from agar_pipeline.fiftyone_io.writing.field_names import (
    OwnFields,
    RunFields,
    find_edited_views,
    find_view,
    is_declared,
    is_view_unedited,
    list_runs,
    shows,
)
from agar_pipeline.fiftyone_io.writing.run_values import find_edited, remove_values
from agar_pipeline.fiftyone_io.writing.write_back import find_gone, write_back
from agar_pipeline.history.lineage import LineageEntry
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.store import Store
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.plurals import plural
from agar_pipeline.use_cases.predicted_plates import read_evaluated


@dataclass(frozen=True)
class Written:
    """The result of `write_run`."""

    fields: RunFields
    dataset: str
    plates: int
    predictions: int
    """Number of predicted boxes on these plates."""
    missed: int
    """Number of annotations on these plates that no prediction matches."""
    gone: list[str]
    """Paths of the images whose samples no longer exist."""
    kept: list[str]
    """File names of samples on which somebody edited the run's values; they were not overwritten."""
    view_kept: bool
    """Whether the saved view was kept because somebody edited it."""


def write_run(
    store: Store,
    record: LineageEntry,
    database: str,
    home: Path,
    worst: int,
    log: Log,
    *,
    overwrite: bool = False,
    migrate: bool = False,
) -> Written:
    """Write an evaluation to the dataset of its snapshot, with a saved view of the `worst` images.

    Values that exist already are not written again; values that somebody edited stay unless `overwrite`.

    Raises:
        ArtifactError: the snapshot or COCO cache of the evaluation was removed.
        DatasetError: the dataset or all of its samples no longer exist, or a field of that name is not ours.
    """
    evaluated = read_evaluated(store, record, log)
    dataset, fields, boxes = evaluated.dataset, evaluated.fields, evaluated.boxes
    with open_for_writing(database, home, dataset, log, migrate=migrate) as uri, connected(uri) as mongo:
        document = dataset_document(mongo, dataset)
        samples = mongo[document["sample_collection_name"]]
        gone = find_gone_of(samples, boxes.sample_ids, dataset, RunFields.writer)
        there = [sample_id for sample_id in boxes.worst() if sample_id not in gone]
        view = find_view(mongo, document, fields.view)
        is_ours = view is None or is_view_unedited(view, document, fields)
        is_current = view is not None and shows(view, there[:worst])
        view_kept = not (is_ours or is_current or overwrite)
        if not is_declared(document, fields) or not (view_kept or (is_ours and is_current)):
            request = {"do": "declare_run", "uri": uri, "dataset": dataset, "run": fields.name}
            request["about"] = f"predictions of {record.key.experiment}, evaluation {record.manifest.fingerprint}"
            run_child(CHILD, request | {"worst": None if view_kept else there[:worst]}, log)
        kept = write_back(samples, fields, boxes, overwrite=overwrite)
    rows = zip(evaluated.images, boxes.sample_ids, strict=True)
    names = sorted(image for image, sample_id in rows if sample_id in gone)
    on_plates = zip(boxes.plates.tolist(), boxes.kinds, strict=True)
    kinds = [str(kind) for plate, kind in on_plates if boxes.sample_ids[plate] not in gone]
    missed = kinds.count("missed")
    return Written(fields, dataset, len(there), len(kinds) - missed, missed, names, kept, view_kept)


def open_app(
    dataset: str,
    view: str | None,
    database: str,
    home: Path,
    log: Log,
    *,
    port: int | None = None,
    more_hosts: tuple[str, ...] = (),
) -> None:
    """Serve the App until Ctrl-C, on a saved view or the whole dataset; `port` and `more_hosts` as in `web`."""
    with open_for_writing(database, home, dataset, log) as uri:
        request: dict[str, Any] = {"do": "open_app", "uri": uri, "dataset": dataset, "view": view}
        request |= {"home": str(home), "port": port, "more_hosts": more_hosts}
        run_child(CHILD, request, log)


def list_runs_of(dataset: str, database: str, home: Path) -> list[str]:
    with open_database(database, home) as uri, connected(uri) as mongo:
        return list_runs(dataset_document(mongo, dataset))


def remove_runs(
    dataset: str,
    runs: list[str],
    database: str,
    home: Path,
    log: Log,
    *,
    overwrite: bool = False,
    migrate: bool = False,
) -> None:
    """Remove the fields and saved views of these runs.

    Raises:
        DatasetError: a run does not exist; or somebody edited its values or its view, and `overwrite` is False. Then
            nothing was removed.
    """
    with open_for_writing(database, home, dataset, log, migrate=migrate) as uri, connected(uri) as mongo:
        document = dataset_document(mongo, dataset)
        there, samples = list_runs(document), mongo[document["sample_collection_name"]]
        for run in runs:
            if run not in there:
                raise DatasetError(
                    f"holds no run {run!r}: it was removed, or never written",
                    where=f"dataset {dataset!r}",
                    next_step=f"name one that it holds: {', '.join(there) or 'there is none'}",
                )
            if not overwrite:
                require_unedited(mongo, document, RunFields(run), f"run {run}", "predictions")
        for run in runs:
            remove_values(samples, RunFields(run), overwrite=overwrite)
        if runs:
            run_child(CHILD, {"do": "remove_run", "uri": uri, "dataset": dataset, "runs": runs}, log)


def require_unedited(database: Database, document: dict[str, Any], fields: OwnFields, name: str, values: str) -> None:
    """Raise DatasetError if somebody edited our values or saved views; `name` and `values` are words for them."""
    edited = find_edited(database[document["sample_collection_name"]], fields)
    what = [f"{values} on {plural(len(edited), 'photo')} ({name_some(edited)})"] if edited else []
    what += [f"the saved view {view!r}" for view in find_edited_views(database, document, fields)]
    if what:
        raise DatasetError(
            f"was edited by somebody ({' and '.join(what)}), so nothing was removed",
            where=f"{name} in dataset {document['name']!r}",
            next_step="rename in FiftyOne what you want to keep, or give --overwrite to remove it too",
        )


def find_gone_of(samples: Collection, sample_ids: list[str], dataset: str, command: str) -> set[str]:
    """Return the sample ids that the dataset no longer holds.

    Raises:
        DatasetError: it holds none of them.
    """
    gone = find_gone(samples, sample_ids)
    if sample_ids and len(gone) == len(set(sample_ids)):
        raise DatasetError(
            f"does not hold any of {plural(len(gone), 'sample')} of the evaluation: deleted, or imported again",
            where=f"dataset {dataset!r}",
            next_step=f"run `agar run`, then `{command}` for the new run",
        )
    return gone


def dataset_document(database: Database, dataset: str) -> dict[str, Any]:
    document = database.datasets.find_one({"name": dataset})
    if document is None:
        there = name_some(sorted(str(name) for name in database.datasets.distinct("name") if name)) or "none"
        raise DatasetError(
            f"is not in this database any more, which holds: {there}",
            where=f"dataset {dataset!r}",
            next_step="import it again, or restore its labels from a snapshot: "
            f"agar restore FINGERPRINT --dataset {quote(dataset)}",
        )
    return document
