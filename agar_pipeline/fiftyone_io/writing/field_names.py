"""Names of our fields and saved views in FiftyOne, and look-ups of them in a dataset's record.

Our fields have a mark in their `info`; the first of them also has digests of the saved views at the time of saving.
Fields without a mark, or renamed since, belong to somebody else and are neither written nor removed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, ClassVar

from pymongo.database import Database

MARK = "written_by_agar_view"
"""Key in the `info` of a run's fields; its value is the run's name."""
VIEW_MARK = "digest_of_saved_view"
"""Key in the `info` of our first field: the digest of its saved view, or a list of those of several."""
DIGEST = "digest"
"""Attribute of our Detections on a sample that holds the digest of our values there (see `run_values`)."""
VIEW_DESCRIPTION = "largest count errors first"


@dataclass(frozen=True)
class OwnFields:
    """Names of the fields and saved views that one command writes together.

    The values of a sample are one unit: who edits one of them has edited all.
    """

    mark: ClassVar[str]
    """Key in the `info` of the fields that says that they are ours; its value is `name`."""
    writer: ClassVar[str]
    """The command that writes them."""

    name: str
    """The first field, a Detections; begins with `agar_`."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def texts(self) -> tuple[str, ...]:
        """Paths of the text attributes of our Detections that the App shows."""
        return (self.digest,)

    @property
    def digest(self) -> str:
        """Path of the digest of the values."""
        return f"{self.name}.{DIGEST}"

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the saved views."""
        return ()


@dataclass(frozen=True)
class RunFields(OwnFields):
    """Names of the fields and the saved view that a run writes.

    >>> RunFields("agar_baseline").names
    ('agar_baseline', 'agar_baseline_missed', 'agar_baseline_count_error')
    """

    mark = MARK
    writer = "agar view"

    compared: bool = True
    """Whether the predictions were compared with annotations: each has a `kind` then, and there are two more fields."""

    @property
    def missed(self) -> str:
        """Field of the annotations that no prediction matches."""
        return f"{self.name}_missed"

    @property
    def count_error(self) -> str:
        """Field of the number of predicted minus annotated colonies."""
        return f"{self.name}_count_error"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.missed, self.count_error) if self.compared else (self.name,)

    @property
    def texts(self) -> tuple[str, ...]:
        """Paths of the kinds of the boxes, and of the digest."""
        kinds = (f"{self.name}.detections.kind", f"{self.missed}.detections.kind") if self.compared else ()
        return (*kinds, self.digest)

    @property
    def view(self) -> str:
        """Name of the saved view of the worst plates."""
        return f"{self.name} worst plates"

    @property
    def views(self) -> tuple[str, ...]:
        return (self.view,)


def list_runs(document: dict[str, Any]) -> list[str]:
    """List the names of the runs in a dataset, from FiftyOne's record of it."""
    marks = {field["name"]: (field.get("info") or {}).get(MARK) for field in document.get("sample_fields") or []}
    return sorted({mark for name, mark in marks.items() if mark and name in RunFields(mark).names})


def is_declared(document: dict[str, Any], fields: OwnFields) -> bool:
    """Whether all fields exist and have our mark."""
    return all(info_of(document, name).get(fields.mark) == fields.name for name in fields.names) and all(
        _field(document, path) for path in fields.texts
    )


def info_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the `info` of a field; empty if there is none."""
    return _field(document, name).get("info") or {}


def find_view(database: Database, document: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Read the document of a saved view; None if there is none."""
    return database.views.find_one({"_dataset_id": document["_id"], "name": name})


def find_edited_views(database: Database, document: dict[str, Any], fields: OwnFields) -> list[str]:
    """List the names of our saved views that somebody changed since we saved them, or saved in our place."""
    views = [find_view(database, document, name) for name in fields.views]
    return [view["name"] for view in views if view is not None and not is_view_unedited(view, document, fields)]


def shows(view: dict[str, Any], worst: list[str]) -> bool:
    """Whether a saved view selects exactly these samples in this order and has no other stage."""
    stages = [json.loads(stage) for stage in view["view_stages"]]
    wanted = {"sample_ids": worst, "ordered": True}
    return [(stage["_cls"].rpartition(".")[2], dict(stage["kwargs"])) for stage in stages] == [("Select", wanted)]


def is_view_unedited(view: dict[str, Any], document: dict[str, Any], fields: OwnFields) -> bool:
    """Whether a saved view is unchanged since we saved it."""
    digests = info_of(document, fields.name).get(VIEW_MARK)
    return view_digest(view) in ([digests] if isinstance(digests, str) else digests or [])


def view_digest(view: dict[str, Any]) -> str:
    """SHA-256 of the parts of a saved view that a user can change: name, description, colour, stages."""
    content = [view["name"], view.get("description"), view.get("color"), view["view_stages"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _field(document: dict[str, Any], path: str) -> dict[str, Any]:
    fields: list[dict[str, Any]] = document.get("sample_fields") or []
    found: dict[str, Any] = {}
    for step in path.split("."):
        found = next((field for field in fields if field["name"] == step), {})
        fields = found.get("fields") or []
    return found
