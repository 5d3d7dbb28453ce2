"""Creates and deletes the dataset of a counted folder; runs in a child process only.

Such a dataset has a mark in its `info`, with the folder. A dataset without the mark belongs to somebody else.
"""

from __future__ import annotations

from typing import Any

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.writing.counted_samples import MARK
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.run_fields import declare, load_dataset
from agar_pipeline.text.plurals import plural


def prepare(fiftyone: Any, name: str, fields: RunFields, folder: str, class_names: list[str]) -> None:
    """Create the dataset, or complete one that an interrupted call has created.

    The App's tab `Annotate` can edit the predictions at once, and offers the classes as labels.

    Raises:
        DatasetError: FiftyOne refuses the name.
    """
    if not fiftyone.dataset_exists(name):
        try:
            dataset = fiftyone.Dataset(name, persistent=True)
        except ValueError as error:
            raise DatasetError(
                f"is refused by FiftyOne ({error})",
                where=f"the dataset name {name!r}",
                next_step="choose another name with --dataset",
            ) from error
        dataset.info = {MARK: {"folder": folder}}
        dataset.media_type = "image"
        dataset.save()
    declare(fiftyone, name, fields, f"colonies that agar predict counted in {folder}", None)
    dataset = load_dataset(fiftyone, name)
    choice = {"type": "detections", "component": "dropdown", "classes": class_names, "attributes": []}
    dataset.update_label_schema(fields.name, choice)
    dataset.activate_label_schemas(fields.name)
    dataset.info[MARK]["fields"] = sorted(dataset.get_field_schema(include_private=True))
    dataset.save()


def remove(fiftyone: Any, name: str, *, overwrite: bool) -> None:
    """Delete the dataset.

    Raises:
        DatasetError: it still has samples, because somebody edited them meanwhile, and `overwrite` is False.
    """
    dataset = load_dataset(fiftyone, name)
    if not overwrite and len(dataset):
        raise DatasetError(
            f"holds {plural(len(dataset), 'sample')} that somebody edited meanwhile, and was kept",
            where=f"dataset {name!r}",
            next_step="look at them, then run the same command again",
        )
    fiftyone.delete_dataset(name)
