"""Determines which collection, pipeline and label field a snapshot reads, and caches the result under the home.

For a whole dataset of images, the dataset's record in the database is sufficient. For a view, FiftyOne computes the
Mongo pipeline (`view`, in a child process). The result is cached under a hash of everything that it depends on, so
that later calls need one small read and no FiftyOne.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo.database import Database

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.config.chosen_pipeline import explain_choice
from agar_pipeline.errors import DatasetError, remedy
from agar_pipeline.fiftyone_io.database.connection import connected, open_database
from agar_pipeline.fiftyone_io.database.trusted_documents import require_reading
from agar_pipeline.files.disk import replace_file
from agar_pipeline.files.private_files import open_private, private_folder
from agar_pipeline.ownership.home import open_home
from agar_pipeline.ownership.inserted_samples import find_unfinished
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.secrets import mask

FORMAT = 1
"""Cache version: raise it when a ResolvedSource is made or used differently, so that old entries are ignored."""
IMPORT_FIELD = "ground_truth"
"""Label field into which imports write."""
DETECTIONS = "fiftyone.core.labels.Detections"
_VOLATILE = frozenset({"last_loaded_at", "last_modified_at", "last_deletion_at", "app_config", "workspaces"})
_SHOWN = 20


@dataclass(frozen=True)
class ResolvedSource:
    """Collection, pipeline and path that select a dataset's view and label field in Mongo; JSON-ready."""

    collection: str
    pipeline: str
    """Stages of the view, as extended JSON."""
    label_path: str
    """Mongo path of the list of detections."""

    @property
    def stages(self) -> list[dict[str, Any]]:
        return json_util.loads(self.pipeline)


Resolve = Callable[[SnapshotConfig], ResolvedSource]


def resolved_source(config: SnapshotConfig, database: Database, home: Path, resolve: Resolve) -> ResolvedSource:
    """Determine the source from the dataset's record, from the cache, or else with `resolve`.

    Raises:
        DatasetError: The dataset does not exist, or an error of `resolve`.
    """
    document = dataset_document(config, database)
    plain = plain_source(config, document)
    if plain is not None:
        return plain
    private_folder((open_home(home) / "fiftyone").resolve())  # cached pipelines are sent to the database as they are
    path = private_folder(home / "fiftyone" / "resolved") / f"{_key(config, document, database)}.json"
    source = _remembered(path)
    if source is None:
        source = resolve(config)
        replace_file(path, json.dumps(asdict(source)), mode=0o600)
    require_reading(source.stages, f"view {config.view!r} of dataset {config.dataset!r}")
    return source


def _remembered(path: Path) -> ResolvedSource | None:
    try:
        with open_private(path, create=False) as stream:
            return ResolvedSource(**json.load(stream))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def plain_source(config: SnapshotConfig, document: dict[str, Any]) -> ResolvedSource | None:
    """Return the source that FiftyOne would give for a whole dataset of images; None if FiftyOne must be asked."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        if (
            config.view
            or document.get("media_type") != "image"
            or document.get("version") != metadata.version("fiftyone")
        ):
            return None
        for field in document.get("sample_fields") or []:
            if field.get("name") == config.label_field and field.get("embedded_doc_type") == DETECTIONS:
                label_path = f"{field.get('db_field') or config.label_field}.detections"
                return ResolvedSource(document["sample_collection_name"], "[]", label_path)
    return None


def dataset_document(config: SnapshotConfig, database: Database) -> dict[str, Any]:
    """Read FiftyOne's own record of the dataset.

    Raises:
        DatasetError: No dataset has this name (the message lists those that exist), or a restore into it is unfinished.
    """
    document = database.datasets.find_one({"name": config.dataset})
    if document is None:
        names = sorted(str(name) for name in database.datasets.distinct("name") if name)
        raise DatasetError(
            f"is not in {database.name!r} of `database: {mask(config.database)}`, which has: {shorten(names)}",
            where=f"dataset {config.dataset!r}",
            next_step=explain_choice(config.dataset, names),
        )
    if (unfinished := find_unfinished(database, config.dataset)) is not None:
        raise unfinished
    return document


def _key(config: SnapshotConfig, document: dict[str, Any], database: Database) -> str:
    views = list(database.views.find({"_dataset_id": document["_id"]}, {"name": 1, "view_stages": 1}).sort("_id"))
    lasting = {key: value for key, value in document.items() if key not in _VOLATILE}
    content = [FORMAT, config.dataset, config.label_field, config.view, lasting, views if config.view else None]
    return hashlib.sha256(json_util.dumps(content, sort_keys=True).encode()).hexdigest()


def detections_fields(document: dict[str, Any]) -> list[str]:
    """List the paths of all fields of type Detections in the dataset's record."""
    found: list[str] = []

    def walk(fields: list[dict[str, Any]], prefix: str) -> None:
        for field in fields or []:
            path = prefix + field["name"]
            if field.get("embedded_doc_type") == DETECTIONS:
                found.append(path)
            elif field.get("ftype", "").endswith("EmbeddedDocumentField"):
                walk(field.get("fields", []), f"{path}.")

    walk(document.get("sample_fields", []), "")
    return found


def describe_samples(config: SnapshotConfig, database: Database) -> dict[str, Any]:
    """List the tags with their counts, and the field names, that a split could use."""
    document = dataset_document(config, database)
    counts = database[document["sample_collection_name"]].aggregate([{"$unwind": "$tags"}, {"$sortByCount": "$tags"}])
    fields = [field["name"] for field in document["sample_fields"] if not field["name"].startswith("_")]
    return {"tags": {str(row["_id"]): row["count"] for row in counts}, "fields": fields}


def explain_empty(config: SnapshotConfig, database: Database) -> DatasetError:
    """Return an error that explains why a snapshot would have no image, and lists tags and fields for a view."""
    document = dataset_document(config, database)
    samples = database[document["sample_collection_name"]]
    if samples.estimated_document_count() == 0:
        return DatasetError(
            "has no samples", where=f"dataset {config.dataset!r}", next_step="import images into it with `agar import`"
        )
    there = describe_samples(config, database)
    tags, fields = [f"{tag} ({count})" for tag, count in there["tags"].items()], there["fields"]
    return DatasetError(
        "holds 0 samples",
        where=f"view {config.view!r} of dataset {config.dataset!r}",
        next_step=remedy("correct snapshot.view", option="correct --view")
        + f"; tags: {shorten(tags)}; label fields: {shorten(detections_fields(document))}; fields: {shorten(fields)}",
    )


def shorten(names: list[str]) -> str:
    """Join at most 20 names, and append the number of the others.

    >>> shorten([]), shorten(["a", "b"]), shorten(["a"] * 22)[-15:]
    ('none', 'a, b', 'a, a and 2 more')
    """
    return name_some(names, _SHOWN) or "none"


def read_photo_paths(database: str, home: Path) -> list[str]:
    """Read the file paths of all samples of all datasets.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with open_database(database, home) as uri, connected(uri) as known:
        collections = known.datasets.find({}, {"sample_collection_name": 1})
        return [
            sample["filepath"]
            for collection in collections
            for sample in known[collection["sample_collection_name"]].find(
                {"filepath": {"$type": "string"}}, {"_id": 0, "filepath": 1}
            )
        ]
