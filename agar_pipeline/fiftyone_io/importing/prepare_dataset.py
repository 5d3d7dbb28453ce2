"""Creates a FiftyOne dataset, or adds missing fields to it, before an import; runs in a child process only.

An existing dataset gets the fields that it lacks and becomes persistent; both are logged. Nothing else of it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.progress import Log


def prepare_dataset(
    fiftyone: Any, name: str, text_fields: list[str], log: Log, label_field: str = IMPORT_FIELD
) -> None:
    """Ensure a persistent dataset of images with a field of Detections and these text fields.

    Raises:
        DatasetError: The dataset does not hold images, a field has another type, or FiftyOne refuses the name; nothing
            was changed.
    """
    try:
        exists = fiftyone.dataset_exists(name)
        dataset = fiftyone.load_dataset(name) if exists else fiftyone.Dataset(name, persistent=True)
    except ValueError as error:
        raise DatasetError(
            f"is refused by FiftyOne ({error})", where=f"the dataset name {name!r}", next_step="choose another name"
        ) from error
    if dataset.media_type not in (None, "image"):
        raise DatasetError(
            f"holds {dataset.media_type}, not images",
            where=f"dataset {name!r}",
            next_step="choose another dataset with --dataset",
        )
    label_is_new = _require_type(dataset, label_field, lambda field: field.document_type is fiftyone.Detections)
    new_texts = [
        field
        for field in text_fields
        if _require_type(dataset, field, lambda there: isinstance(there, fiftyone.StringField))
    ]
    if dataset.media_type is None:
        dataset.media_type = "image"
    if label_is_new:
        dataset.add_sample_field(label_field, fiftyone.EmbeddedDocumentField, embedded_doc_type=fiftyone.Detections)
    for field in new_texts:
        dataset.add_sample_field(field, fiftyone.StringField)
    if exists:
        _say_changes(dataset, [label_field] * label_is_new + new_texts, log)
    dataset.persistent = True


def _require_type(dataset: Any, name: str, fits: Callable[[Any], bool]) -> bool:
    """Return whether the dataset lacks the field.

    Raises:
        DatasetError: The field exists with another type.
    """
    field = dataset.get_field(name)
    if field is None:
        return True
    try:
        right = fits(field)
    except AttributeError:
        right = False
    if not right:
        raise DatasetError(
            f"is of type {type(field).__name__}, but must be of another type",
            where=f"field {name!r} of dataset {dataset.name!r}",
            next_step="choose another dataset with --dataset",
        )
    return False


def _say_changes(dataset: Any, new_fields: list[str], log: Log) -> None:
    if new_fields:
        log(f"note: dataset {dataset.name!r} exists already and gets the fields {', '.join(new_fields)}")
    if not dataset.persistent:
        log(f"note: dataset {dataset.name!r} becomes persistent; otherwise FiftyOne would delete it, with the import")
