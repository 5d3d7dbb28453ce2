"""Matches a model's classes to those of a COCO file by their names; category ids may differ.

Here: which category corresponds to which class, and which classes only one side has. Not here: which names count as
equal (`config.class_map`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import Spellings
from agar_pipeline.errors import TrainingError
from agar_pipeline.text.plurals import plural

_SHOWN = 8


@dataclass(frozen=True)
class ClassAgreement:
    """How detections of a model become detections for a COCO file."""

    columns: CocoColumns
    """The file's columns; classes that only the model knows are added as further categories."""
    own_ids: np.ndarray
    """(K,) the model's category ids, ascending."""
    file_ids: np.ndarray
    """(K,) the file's category id for each of `own_ids`."""
    notes: tuple[str, ...]
    """Messages for the user, one sentence each."""

    def renamed(self, class_names: Sequence[str]) -> dict[str, str]:
        """Class of the model → its name in the file; `class_names` in the order of `own_ids`."""
        return {name: self.columns.names[i] for name, i in zip(class_names, self.file_ids.tolist(), strict=True)}

    def renumber(self, detections: Detections) -> Detections:
        """The same detections with the file's category ids."""
        rows = np.searchsorted(self.own_ids, detections.category_ids)
        return dataclasses.replace(detections, category_ids=self.file_ids[rows])


def agree_on_classes(
    model: Path, class_names: Sequence[str], category_ids: np.ndarray, coco_json: Path, columns: CocoColumns
) -> ClassAgreement:
    """Find each of the model's classes in the file.

    Args:
        model: Path of the model or of its predictions, for messages.
        class_names: In the order of `category_ids`.
        category_ids: (K,) category ids of the model.
        coco_json: Path of the file, for messages.
        columns: Columns of the file.

    Raises:
        TrainingError: they have no class in common, or the file gives one name to two categories.
    """
    names = dict(zip(columns.category_ids.tolist(), columns.class_names, strict=True))
    if len(set(columns.class_names)) < len(columns.class_names):
        raise TrainingError(
            f"lists two categories of the same name: {_few(columns.class_names)}",
            where=coco_json,
            next_step="keep one of them, with the annotations of both",
        )
    match = Spellings(dict(zip(class_names, category_ids.tolist(), strict=True))).match(columns.class_names)
    file_id_of = {match.category_ids[name]: i for i, name in names.items() if name in match.category_ids}
    if not file_id_of:
        raise TrainingError(
            f"knows {_few(class_names)}, and {coco_json} lists {_few(columns.class_names)}: no class is in both",
            where=model,
            next_step="give a COCO file whose categories have the names of the model's classes",
        )
    unlisted = {i: name for i, name in zip(category_ids.tolist(), class_names, strict=True) if i not in file_id_of}
    first_free = max(0, int(columns.category_ids.max(initial=0))) + 1
    file_id_of |= {i: first_free + place for place, i in enumerate(unlisted)}
    order = np.argsort(category_ids)
    extended = dataclasses.replace(
        columns,
        category_ids=np.append(columns.category_ids, [file_id_of[i] for i in unlisted]).astype(np.int64),
        class_names=(*columns.class_names, *unlisted.values()),
    )
    unknown = {i: name for i, name in names.items() if name not in match.category_ids}
    notes = (
        *(f"{coco_json.name}: {sentence} of the model, by its spelling" for sentence in match.tell_merged()),
        *_tell_unlisted(coco_json, list(unlisted.values())),
        *_tell_unknown(columns, unknown),
    )
    return ClassAgreement(
        extended, category_ids[order], np.array([file_id_of[i] for i in category_ids[order].tolist()]), notes
    )


def _tell_unlisted(coco_json: Path, names: Sequence[str]) -> list[str]:
    words = f"{coco_json.name} does not list {_few(names)} of the model: detections of these count as wrong"
    return [words] if names else []


def _tell_unknown(columns: CocoColumns, unknown: dict[int, str]) -> list[str]:
    counts = {name: int((columns.annotation_category_ids == i).sum()) for i, name in unknown.items()}
    return [
        f"the model does not know {name!r}: its {plural(count, 'annotation counts', 'annotations count')} as missed"
        for name, count in counts.items()
        if count
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (" …" if len(names) > _SHOWN else "")
