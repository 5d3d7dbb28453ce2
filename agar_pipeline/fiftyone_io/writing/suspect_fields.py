"""The field and the saved views of suspect labels in FiftyOne: their names, and their declaration in the schema.

Here: names with pymongo's records, and the declaration, which runs in a child process. Not here: the suspects on the
samples (`suspect_labels`), copies of a label field (`reviewed_field`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agar_pipeline.fiftyone_io.writing.field_names import OwnFields
from agar_pipeline.fiftyone_io.writing.run_fields import declare_fields, load_dataset, save_views
from agar_pipeline.review.reasons import TITLES

SOURCE = "label_field"
"""Key in the field's `info`: the label field that the suspects are about."""
ABOUT = "review"
"""Key in the field's `info`: which review they are of."""
_TEXTS = ("kind", "reason", "suspect_id", "annotation_id", "annotated_label", "other_annotation_id")
ALL = "all suspects"


@dataclass(frozen=True)
class SuspectFields(OwnFields):
    """Names of the field and the saved views that `agar review` writes.

    >>> SuspectFields().views[0]
    'agar_suspects: all suspects, most likely first'
    """

    mark = "written_by_agar_review"
    writer = "agar review"

    name: str = "agar_suspects"

    @property
    def texts(self) -> tuple[str, ...]:
        """Paths of the texts of a suspect, and of the digest."""
        return (*(f"{self.name}.detections.{text}" for text in _TEXTS), self.digest)

    @property
    def views(self) -> tuple[str, ...]:
        """The view of all suspects, then one of each kind, in the order of `TITLES`."""
        return tuple(f"{self.name}: {words}, most likely first" for words in (ALL, *map(str.lower, TITLES.values())))

    @property
    def first_view(self) -> str:
        """The view of all suspects."""
        return self.views[0]


def declare_suspects(fiftyone: Any, dataset_name: str, about: str, label_field: str, missing_views: list[str]) -> None:
    """Declare the field, record which label field the suspects are about, and save those of our views.

    The views filter and sort when they are opened, so that they also fit suspects that are written later.

    Raises:
        DatasetError: A field of this name was not created by `agar review`.
    """
    fields, dataset = SuspectFields(), load_dataset(fiftyone, dataset_name)
    declare_fields(fiftyone, dataset, fields, about)
    box = f"{fields.name}.detections.annotated_box"
    dataset.add_sample_field(box, fiftyone.ListField, subfield=fiftyone.FloatField)
    field = dataset.get_field(fields.name)
    field.info, field.description = {**(field.info or {}), SOURCE: label_field, ABOUT: about}, about
    field.save()
    score, kind = fiftyone.ViewField(f"{fields.name}.detections.confidence"), fiftyone.ViewField("kind")
    chosen = [kind.exists(), *(kind == name for name in TITLES)]
    views = {
        name: (
            dataset.filter_labels(fields.name, wanted).sort_by(score.max(), reverse=True),
            "suspect labels, the photo with the most likely one first",
        )
        for name, wanted in zip(fields.views, chosen, strict=True)
        if name in missing_views
    }
    save_views(fiftyone, dataset, fields, views)
