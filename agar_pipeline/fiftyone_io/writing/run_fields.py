"""Declares and removes a run's fields and saved view in FiftyOne's schema; runs in a child process only.

Fields that `agar view` created have a mark in their `info`. Fields without the mark belong to somebody else and are
neither written nor removed.
"""

from __future__ import annotations

from typing import Any

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.writing.field_names import (
    MARK,
    VIEW_DESCRIPTION,
    VIEW_MARK,
    RunFields,
    view_digest,
)
from agar_pipeline.fiftyone_io.writing.run_values import holds_values


def declare(fiftyone: Any, dataset_name: str, fields: RunFields, about: str, worst: list[str] | None) -> None:
    """Declare the run's fields, so that the App shows them, and save a view of the samples `worst` in this order.

    Existing fields of an earlier `agar view` are unchanged. If `worst` is None, the saved view is unchanged, too.

    Raises:
        DatasetError: A field with one of these names was not created by `agar view`.
    """
    dataset = load_dataset(fiftyone, dataset_name)
    schema = dataset.get_field_schema()
    for name in fields.names:
        if name in schema and (schema[name].info or {}).get(MARK) != fields.name:
            raise DatasetError(
                f"has a field {name!r} that `agar view` did not make",
                where=f"dataset {dataset_name!r}",
                next_step="rename that field in FiftyOne",
            )
    ours = {"info": {MARK: fields.name}, "description": about}
    for name in fields.names:
        if name not in schema and name == fields.count_error:
            dataset.add_sample_field(name, fiftyone.IntField, **ours)
        elif name not in schema:
            kind = fiftyone.EmbeddedDocumentField
            dataset.add_sample_field(name, kind, embedded_doc_type=fiftyone.Detections, **ours)
    for path in (*fields.kinds, fields.digest):
        dataset.add_sample_field(path, fiftyone.StringField)
    if worst is not None:
        view = dataset.select(worst, ordered=True)
        dataset.save_view(fields.view, view, description=VIEW_DESCRIPTION, overwrite=True)
        saved = fiftyone.core.odm.get_db_conn().views.find_one({"_dataset_id": dataset._doc.id, "name": fields.view})
        field = dataset.get_field(fields.name)
        field.info = {MARK: fields.name, VIEW_MARK: view_digest(saved)}
        field.save()


def remove(fiftyone: Any, dataset_name: str, runs: list[str]) -> None:
    """Remove the fields and saved views of runs whose values have been removed from all samples.

    Raises:
        DatasetError: A sample has values again, because somebody edited it meanwhile.
    """
    dataset, database = load_dataset(fiftyone, dataset_name), fiftyone.core.odm.get_db_conn()
    schema = dataset.get_field_schema()
    for fields in map(RunFields, runs):
        if holds_values(database[dataset._sample_collection_name], fields):
            raise DatasetError(
                "were edited by somebody meanwhile, and were kept",
                where=f"predictions of {fields.name} in dataset {dataset_name!r}",
                next_step="look at them, then run the same `agar view --remove` again",
            )
        names = [name for name in fields.names if name in schema and (schema[name].info or {}).get(MARK) == fields.name]
        dataset.delete_sample_fields(names)
        if dataset.has_saved_view(fields.view):
            dataset.delete_saved_view(fields.view)
    without_views = {"_id": dataset._doc.id, "saved_views": {"$exists": False}}  # FiftyOne drops empty lists
    database.datasets.update_one(without_views, {"$set": {"saved_views": []}})


def load_dataset(fiftyone: Any, name: str) -> Any:
    """Load a dataset; raises DatasetError if none has this name."""
    try:
        return fiftyone.load_dataset(name)
    except ValueError as error:
        raise DatasetError(
            f"is not in this database ({error})",
            where=f"dataset {name!r}",
            next_step="correct its name, or the database that is used",
        ) from error
