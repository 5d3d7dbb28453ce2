"""Declares and removes our fields and saved views in FiftyOne's schema; runs in a child process only.

Fields that we created have a mark in their `info`. Fields without the mark belong to somebody else and are neither
written nor removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.writing.field_names import (
    VIEW_DESCRIPTION,
    VIEW_MARK,
    OwnFields,
    RunFields,
    find_view,
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
    numbers = {fields.count_error: fiftyone.IntField} if fields.compared else {}
    declare_fields(fiftyone, dataset, fields, about, numbers)
    if worst is not None:
        view = dataset.select(worst, ordered=True)
        save_views(fiftyone, dataset, fields, {fields.view: (view, VIEW_DESCRIPTION)})


def declare_fields(
    fiftyone: Any, dataset: Any, fields: OwnFields, about: str, numbers: Mapping[str, Any] | None = None
) -> None:
    """Declare fields of ours: Detections, and the numbers, with their types; existing ones are unchanged.

    Raises:
        DatasetError: A field with one of these names is not ours.
    """
    schema = dataset.get_field_schema()
    require_ours(dataset, fields)
    ours = {"info": {fields.mark: fields.name}, "description": about}
    for name in fields.names:
        if name not in schema and name in (numbers or {}):
            dataset.add_sample_field(name, (numbers or {})[name], **ours)
        elif name not in schema:
            kind = fiftyone.EmbeddedDocumentField
            dataset.add_sample_field(name, kind, embedded_doc_type=fiftyone.Detections, **ours)
    for path in fields.texts:
        dataset.add_sample_field(path, fiftyone.StringField)


def require_ours(dataset: Any, fields: OwnFields) -> None:
    """Raise DatasetError if a field with one of these names is not ours."""
    schema = dataset.get_field_schema()
    for name in fields.names:
        if name in schema and (schema[name].info or {}).get(fields.mark) != fields.name:
            raise DatasetError(
                f"has a field {name!r} that `{fields.writer}` did not make",
                where=f"dataset {dataset.name!r}",
                next_step="rename that field in FiftyOne",
            )


def save_views(fiftyone: Any, dataset: Any, fields: OwnFields, views: Mapping[str, tuple[Any, str]]) -> None:
    """Save these of our views, name → view and description, and record in our first field that they are ours."""
    database, document = fiftyone.core.odm.get_db_conn(), {"_id": dataset._doc.id}
    for name, (view, description) in views.items():
        dataset.save_view(name, view, description=description, overwrite=True)
    saved = [found for name in fields.views if (found := find_view(database, document, name)) is not None]
    field = dataset.get_field(fields.name)
    known = (field.info or {}).get(VIEW_MARK) or []
    known = [known] if isinstance(known, str) else known
    digests = [view_digest(view) for view in saved]
    digests = [digest for view, digest in zip(saved, digests, strict=True) if view["name"] in views or digest in known]
    field.info = {**(field.info or {}), VIEW_MARK: digests}
    field.save()


def remove(fiftyone: Any, dataset_name: str, several: Iterable[OwnFields]) -> None:
    """Remove fields and saved views of ours whose values have been removed from all samples.

    Raises:
        DatasetError: A sample has values again, because somebody edited it meanwhile.
    """
    dataset, database = load_dataset(fiftyone, dataset_name), fiftyone.core.odm.get_db_conn()
    schema = dataset.get_field_schema()
    for fields in several:
        if holds_values(database[dataset._sample_collection_name], fields):
            raise DatasetError(
                "were edited by somebody meanwhile, and were kept",
                where=f"values of {fields.name} in dataset {dataset_name!r}",
                next_step=f"look at them, then run the same `{fields.writer} --remove` again",
            )
        ours = [
            name
            for name in fields.names
            if name in schema and (schema[name].info or {}).get(fields.mark) == fields.name
        ]
        dataset.delete_sample_fields(ours)
        for name in fields.views:
            if dataset.has_saved_view(name):
                dataset.delete_saved_view(name)
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
