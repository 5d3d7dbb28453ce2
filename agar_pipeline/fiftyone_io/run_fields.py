"""A run's fields and saved view in FiftyOne's schema. Runs in a child process only.

Fields that `agar view` made carry a mark; without it a field is somebody else's, and neither written nor removed.
"""

from __future__ import annotations

from typing import Any

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.write_back import RunFields

MARK = "written_by_agar_view"
"""Key in a field's `info`; its value is the run's name."""


def declare(fiftyone: Any, dataset_name: str, fields: RunFields, about: str, worst: list[str]) -> None:
    """Declare the run's fields, so that the App shows them, and save the view of the worst samples, in this order.

    Fields of an earlier `agar view` stay as they are.

    Raises:
        DatasetError: a field of this name is not ours.
    """
    dataset = load_dataset(fiftyone, dataset_name)
    schema = dataset.get_field_schema()
    for name in (fields.name, fields.missed, fields.count_error):
        if name in schema and MARK not in (schema[name].info or {}):
            raise DatasetError(
                f"dataset {dataset_name!r} has a field {name!r} that `agar view` did not make: rename it in FiftyOne"
            )
    ours = {"info": {MARK: fields.name}, "description": about}
    for name in (fields.name, fields.missed):
        if name not in schema:
            kind = fiftyone.EmbeddedDocumentField
            dataset.add_sample_field(name, kind, embedded_doc_type=fiftyone.Detections, **ours)
        dataset.add_sample_field(f"{name}.detections.kind", fiftyone.StringField)
    if fields.count_error not in schema:
        dataset.add_sample_field(fields.count_error, fiftyone.IntField, **ours)
    view = dataset.select(worst, ordered=True)
    dataset.save_view(fields.view, view, description="largest count errors first", overwrite=True)


def remove(fiftyone: Any, dataset_name: str, run: str | None) -> list[str]:
    """Take back the fields and the saved view of a run, or of all runs; returns their names.

    Raises:
        DatasetError: there is nothing of this run.
    """
    dataset = load_dataset(fiftyone, dataset_name)
    marks = {name: (field.info or {}).get(MARK) for name, field in dataset.get_field_schema().items()}
    runs = sorted({mark for mark in marks.values() if mark is not None and run in (mark, None)})
    if run is not None and not runs:
        there = ", ".join(sorted({mark for mark in marks.values() if mark})) or "none"
        raise DatasetError(f"dataset {dataset_name!r} holds no run {run!r}; there are: {there}")
    for found in runs:
        dataset.delete_sample_fields([name for name, mark in marks.items() if mark == found])
        if dataset.has_saved_view(RunFields(found).view):
            dataset.delete_saved_view(RunFields(found).view)
    without_views = {"_id": dataset._doc.id, "saved_views": {"$exists": False}}  # FiftyOne leaves out an empty list
    fiftyone.core.odm.get_db_conn().datasets.update_one(without_views, {"$set": {"saved_views": []}})
    return runs


def load_dataset(fiftyone: Any, name: str) -> Any:
    """Raises DatasetError where there is none of this name."""
    try:
        return fiftyone.load_dataset(name)
    except ValueError as error:
        raise DatasetError(f"dataset {name!r} is not in this database: {error}") from error
