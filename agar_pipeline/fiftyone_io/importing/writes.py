"""Reads the samples for an import, and applies its writes only to samples that nobody changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from agar_pipeline.fiftyone_io.importing.match_samples import Match, Sample, sample_id
from agar_pipeline.fiftyone_io.importing.plan import Arrival, Planner, Write
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.ownership.imported_labels import EARLIER_FIELD, EARLIER_TEXT_FIELDS, RECORD_FIELD
from agar_pipeline.progress import Progress

_BATCH = 500
_DUPLICATE_KEY = 11000
_PARTS = ("filepath", "tags", "metadata", "last_modified_at", RECORD_FIELD, EARLIER_FIELD, *EARLIER_TEXT_FIELDS)
"""Fields that are read of every sample; labels are read only if they are needed."""


def read_samples(samples: Collection, text_fields: Sequence[str]) -> list[Sample]:
    """Read all samples of the dataset, without their labels."""
    return [Sample(row) for row in samples.find({}, dict.fromkeys((*_PARTS, *text_fields), 1))]


def write_arrivals(
    samples: Collection, arrivals: Sequence[Arrival], match: Match, planner: Planner, taken: set[ObjectId], on: Progress
) -> None:
    """Plan and write the images in batches, and count the results.

    Args:
        planner: Decides what is written; its counts are updated.
        taken: Ids of the samples in the dataset; the ids of new samples are added.
        on: Called with the number of processed images and their total number.
    """
    for start in range(0, len(arrivals), _BATCH):
        batch = slice(start, start + _BATCH)
        _apply(samples, _plan(samples, arrivals[batch], match.samples[batch], planner, taken), planner)
        on(min(start + _BATCH, len(arrivals)), len(arrivals))


def write_moves(samples: Collection, present: Sequence[Sample], match: Match, planner: Planner) -> None:
    """Write the new file paths of samples whose path another sample takes."""
    moves = [planner.move(sample, match.displaced[sample.id]) for sample in present if sample.id in match.displaced]
    _apply(samples, moves, planner)


def _plan(
    samples: Collection,
    arrivals: Sequence[Arrival],
    present: Sequence[Sample | None],
    planner: Planner,
    taken: set[ObjectId],
) -> list[Write]:
    counts, writes = planner.counts, []
    for arrival, sample in zip(arrivals, _with_labels(samples, arrivals, present, planner), strict=True):
        image = arrival.image
        if image.uncountable:
            counts.uncountable += 1
            if sample is not None:
                writes.append(planner.leave_out(arrival, sample, away=not Path(sample.filepath).exists()))
            continue
        counts.unlabelled += not image.labelled
        counts.boxes += len(image.labels)
        counts.crowds += sum(bool(more.get("iscrowd")) for more in image.attributes)
        for label in image.labels:
            counts.classes[label] = counts.classes.get(label, 0) + 1
        if sample is None:
            writes.append(planner.add(arrival, _new_id(image.name, taken)))
        else:
            writes.append(planner.update(arrival, sample))
    return [write for write in writes if write is not None]


def _with_labels(
    samples: Collection, arrivals: Sequence[Arrival], present: Sequence[Sample | None], planner: Planner
) -> list[Sample | None]:
    """Read samples again where more is needed: labels for a decision, all fields of one that may be removed."""
    whole, labels = [], []
    for arrival, sample in zip(arrivals, present, strict=True):
        if sample is not None and arrival.image.uncountable:
            whole.append(sample.id)
        elif sample is not None and planner.needs_labels(arrival, sample):
            labels.append(sample.id)
    parts = dict.fromkeys((*_PARTS, *planner.text_fields, IMPORT_FIELD), 1)
    again = {row["_id"]: Sample(row, with_labels=True) for row in _find(samples, labels, parts)}
    again |= {row["_id"]: Sample(row, with_labels=True) for row in _find(samples, whole, None)}
    return [again.get(sample.id, sample) if sample is not None else None for sample in present]


def _find(samples: Collection, ids: list[ObjectId], parts: dict[str, int] | None) -> Iterable[dict[str, Any]]:
    return samples.find({"_id": {"$in": ids}}, parts) if ids else ()


def _new_id(name: str, taken: set[ObjectId]) -> ObjectId:
    identity = sample_id(name)
    while identity in taken:  # taken by an image of the same name from another folder
        identity = sample_id(str(identity))
    taken.add(identity)
    return identity


def _apply(samples: Collection, writes: list[Write], planner: Planner) -> None:
    """Apply the writes and count them; samples that somebody else changed since the read are only listed."""
    if not writes:
        return
    try:
        samples.bulk_write([write.operation for write in writes], ordered=False)
        refused = set()
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
            raise
        refused = {writes[failure["index"]].sample_id for failure in failures}
    refused |= _not_applied(samples, writes, planner)
    for write in writes:
        if write.sample_id in refused:
            planner.counts.changed_meanwhile.append(write.filepath)
        else:
            planner.counts.count(write.counted_as)


def _not_applied(samples: Collection, writes: list[Write], planner: Planner) -> set[ObjectId]:
    """Return the samples of updates without this import's time, and those of deletions that still exist."""
    updated = {write.sample_id for write in writes if isinstance(write.operation, UpdateOne)}
    removed = {write.sample_id for write in writes if isinstance(write.operation, DeleteOne)}
    stamped = {"_id": {"$in": list(updated)}, "last_modified_at": planner.stamp}
    applied = {row["_id"] for row in samples.find(stamped, {"_id": 1})} if updated else set()
    still_there = (
        {row["_id"] for row in samples.find({"_id": {"$in": list(removed)}}, {"_id": 1})} if removed else set()
    )
    return (updated - applied) | still_there
