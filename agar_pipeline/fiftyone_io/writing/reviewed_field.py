"""The copy of a label field that accepted suggestions are applied to: its declaration, and its first values.

The copy has a mark in its `info`; a field without it belongs to somebody else and is not written. The source is only
read. Here: the field. Not here: the suggestions (`accepted_labels`).
"""

from __future__ import annotations

import re
from typing import Any

from pymongo.collection import Collection

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.writing.accepted_labels import ACCEPTED
from agar_pipeline.fiftyone_io.writing.field_names import info_of
from agar_pipeline.fiftyone_io.writing.run_fields import load_dataset

MARK = "reviewed_by_agar"
"""Key in the `info` of a copy; its value is the field that was copied."""


def usual_copy(label_field: str) -> str:
    """Return the name of the copy, if no other is given; a copy of a copy is numbered.

    >>> usual_copy("ground_truth"), usual_copy("ground_truth_reviewed"), usual_copy("deep.gt_reviewed_2")
    ('ground_truth_reviewed', 'ground_truth_reviewed_2', 'deep_gt_reviewed_3')
    """
    name = label_field.replace(".", "_")
    if (found := re.fullmatch(r"(.*_reviewed)(?:_(\d+))?", name)) is None:
        return f"{name}_reviewed"
    return f"{found[1]}_{int(found[2] or 1) + 1}"


def is_copy(document: dict[str, Any], name: str, label_field: str) -> bool:
    """Whether the dataset has this field as our copy of the label field.

    Raises:
        DatasetError: it has a field of this name that is something else, or the name leads into another field.
    """
    if "." in name:
        raise DatasetError(
            "leads into another field, and the copy needs one of its own",
            where="--to-field",
            value=name,
            next_step="give a name without a dot",
        )
    if not any(field["name"] == name for field in document.get("sample_fields") or []):
        return False
    source = info_of(document, name).get(MARK)
    if source == label_field:
        return True
    what = f"is a copy of {source!r}" if source else "was not made by `agar review --accept`"
    raise DatasetError(
        f"{what}, so nothing was applied to it",
        where=f"field {name!r} of dataset {document['name']!r}",
        next_step="name another field with --to-field",
    )


def declare_copy(fiftyone: Any, dataset_name: str, label_field: str, name: str) -> None:
    """Declare the copy with all attributes of the label field, so that the App shows the same.

    Raises:
        DatasetError: FiftyOne refuses the name.
    """
    from fiftyone.core.odm.utils import get_field_kwargs

    dataset = load_dataset(fiftyone, dataset_name)
    kwargs = get_field_kwargs(dataset.get_field(label_field))
    kept = {key: kwargs[key] for key in ("ftype", "embedded_doc_type", "fields")}
    about = f"copy of {label_field} with the suggestions of agar review that were accepted"
    try:
        dataset.add_sample_field(name, **kept, info={MARK: label_field}, description=about)
    except ValueError as error:
        raise DatasetError(
            f"is refused by FiftyOne ({error})",
            where=f"the field name {name!r}",
            next_step="choose another name with --to-field",
        ) from error


def fill_copy(samples: Collection, label_path: str, name: str) -> None:
    """Copy the labels to all samples that have no copy yet; a copy that exists stays as it is.

    What was applied to a source that is itself a copy is not recorded in the new one.
    """
    copied = {"$set": {name: f"${label_path}", "last_modified_at": "$$NOW"}}
    without_history = {"$unset": f"{name}.{ACCEPTED}"}
    where = {name: {"$exists": False}, label_path: {"$exists": True}}
    samples.update_many(where, [copied, without_history])
