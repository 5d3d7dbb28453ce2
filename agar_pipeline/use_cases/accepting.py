"""Applies the suggestions that a person accepted to a copy of the label field.

Here: the order of the steps. Not here: which suspects are accepted (`accepted_suspects`), what a suggestion changes
(`accepted_labels`), the copy (`reviewed_field`), writing suspects (`reviewing`). The label field itself is only read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected
from agar_pipeline.fiftyone_io.database.documents import now
from agar_pipeline.fiftyone_io.database.revision import CHILD, open_for_writing
from agar_pipeline.fiftyone_io.reading.observe import resolver_in_child
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource, resolved_source, shorten
from agar_pipeline.fiftyone_io.writing.accepted_labels import ACCEPTED, Suggestion, apply_suggestions
from agar_pipeline.fiftyone_io.writing.field_names import info_of
from agar_pipeline.fiftyone_io.writing.reviewed_field import fill_copy, is_copy, usual_copy
from agar_pipeline.fiftyone_io.writing.suspect_fields import SOURCE
from agar_pipeline.fiftyone_io.writing.suspect_labels import Detection, labels_at
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.use_cases.accepted_suspects import Choice, choose
from agar_pipeline.use_cases.reviewing import FIELDS
from agar_pipeline.use_cases.viewing import dataset_document

_DETECTIONS = ".detections"


@dataclass
class Accepted:
    """The result of `accept`."""

    label_field: str
    to_field: str
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind → number of suggestions that were applied now."""
    photos: int = 0
    """Photos that these are on."""
    already: int = 0
    """Number of suggestions that had been applied earlier."""
    refused: list[str] = field(default_factory=list)
    """Sentences: which suggestions were not applied, and why."""


def accept(
    choice: Choice, source: SnapshotConfig, home: Path, log: Log, *, to_field: str | None = None, migrate: bool = False
) -> Accepted:
    """Apply accepted suggestions to the copy of the label field, which is made if it does not exist.

    What was applied earlier is not applied again. A suggestion whose annotation changed since the review is refused,
    and so is each of two that are about the same annotation; the others are applied.

    Args:
        to_field: Name of the copy; None takes the label field's with `_reviewed`.

    Raises:
        DatasetError: the dataset has no suspects of ours, none is chosen, or a field of that name is not our copy.
    """
    dataset = source.dataset
    with open_for_writing(source.database, home, dataset, log, migrate=migrate) as uri, connected(uri) as mongo:
        document = dataset_document(mongo, dataset)
        label_field = _reviewed_field(document)
        result = Accepted(label_field, to_field or usual_copy(label_field))
        has_copy = is_copy(document, result.to_field, label_field)
        if choice.view is not None:
            _require_view(mongo, document, choice.view)

        def resolve(path: str, view: str | None = None) -> ResolvedSource:
            config = SnapshotConfig(dataset=dataset, label_field=path, view=view, database=source.database)
            return resolved_source(config, mongo, home, resolver_in_child(uri))

        labels = resolve(label_field)
        suspects = _labels_in(mongo, resolve(FIELDS.name))
        shown = suspects if choice.view is None else _labels_in(mongo, resolve(FIELDS.name, f"saved:{choice.view}"))
        found = choose(choice, shown, suspects, f"field {FIELDS.name!r} of dataset {dataset!r}")
        if not has_copy:
            request = {"do": "declare_copy", "uri": uri, "dataset": dataset}
            run_child(CHILD, request | {"label_field": label_field, "to_field": result.to_field}, log)
        samples = mongo[labels.collection]
        fill_copy(samples, labels.label_path.removesuffix(_DETECTIONS), result.to_field)
        for sample in samples.find({"_id": {"$in": [ObjectId(sample_id) for sample_id in found]}}).sort("filepath"):
            _apply(samples, sample, labels.label_path, found[str(sample["_id"])], result)
    return result


def _reviewed_field(document: dict[str, Any]) -> str:
    info = info_of(document, FIELDS.name)
    if info.get(FIELDS.mark) != FIELDS.name or SOURCE not in info:
        raise DatasetError(
            "holds no suspects of `agar review`",
            where=f"dataset {document['name']!r}",
            next_step="write them first: agar review --experiment E",
        )
    return str(info[SOURCE])


def _require_view(mongo: Database, document: dict[str, Any], name: str) -> None:
    names = sorted(str(view.get("name")) for view in mongo["views"].find({"_dataset_id": document["_id"]}))
    if name not in names:
        raise DatasetError(
            f"has no saved view {name!r}",
            where=f"dataset {document['name']!r}",
            next_step=f"give --accept one of these, tag:NAME, or a file: {shorten([repr(one) for one in names])}",
        )


def _labels_in(mongo: Database, source: ResolvedSource) -> dict[str, list[Detection]]:
    stages = [*source.stages, {"$project": {source.label_path: 1}}]
    return {str(row["_id"]): labels_at(row, source.label_path) for row in mongo[source.collection].aggregate(stages)}


def _apply(
    samples: Collection, sample: dict[str, Any], label_path: str, suggestions: list[Suggestion], result: Accepted
) -> None:
    """Apply the suggestions of one sample; it is left as it is if somebody edits its labels meanwhile."""
    name = Path(str(sample.get("filepath"))).name
    copy = sample.get(result.to_field) or {"_cls": "Detections"}
    before = labels_at(copy, "detections")
    applied = apply_suggestions(labels_at(sample, label_path), before, copy.get(ACCEPTED) or [], suggestions)
    result.already += applied.already
    result.refused += [f"{name}: {sentence}" for sentence in applied.refused]
    if not applied.done:
        return
    read = (label_path.partition(".")[0], result.to_field)
    unchanged = {key: {"$eq": sample[key]} if key in sample else {"$exists": False} for key in read}
    new = {**copy, "detections": applied.labels, ACCEPTED: applied.accepted}
    values = {result.to_field: new, "last_modified_at": now()}
    if samples.update_one({"_id": sample["_id"], **unchanged}, {"$set": values}).matched_count:
        result.kinds.update(applied.done)
        result.photos += 1
    else:
        result.refused.append(f"{name}: somebody edited its labels meanwhile; accept again")
