"""Names of a run's fields and view in FiftyOne, and look-ups of runs in a dataset's record.

A run's fields have a mark with the run's name in their `info`; its first field also has a digest of the saved view at
the time of saving. Fields without a mark, or renamed since, belong to somebody else and are neither written nor
removed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

MARK = "written_by_agar_view"
"""Key in a field's `info`; its value is the run's name."""
VIEW_MARK = "digest_of_saved_view"
"""Key in the `info` of a run's first field."""
DIGEST = "digest"
"""Attribute of a sample's predictions that holds the digest of its values (see `run_values`)."""
VIEW_DESCRIPTION = "largest count errors first"


@dataclass(frozen=True)
class RunFields:
    """Names of the fields and the saved view that a run writes.

    >>> RunFields("agar_baseline").names
    ('agar_baseline', 'agar_baseline_missed', 'agar_baseline_count_error')
    """

    name: str
    """Field of the predictions, a Detections; begins with `agar_`."""
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
        """Names of all fields."""
        return (self.name, self.missed, self.count_error) if self.compared else (self.name,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Paths of the fields with the kinds of the boxes."""
        return (f"{self.name}.detections.kind", f"{self.missed}.detections.kind") if self.compared else ()

    @property
    def digest(self) -> str:
        """Path of the digest of the values."""
        return f"{self.name}.{DIGEST}"

    @property
    def view(self) -> str:
        """Name of the saved view of the worst plates."""
        return f"{self.name} worst plates"


def list_runs(document: dict[str, Any]) -> list[str]:
    """List the names of the runs in a dataset, from FiftyOne's record of it."""
    marks = {field["name"]: (field.get("info") or {}).get(MARK) for field in document.get("sample_fields") or []}
    return sorted({mark for name, mark in marks.items() if mark and name in RunFields(mark).names})


def is_declared(document: dict[str, Any], fields: RunFields) -> bool:
    """Whether all fields of a run exist and have the run's mark."""
    return all(_field(document, name).get("info", {}).get(MARK) == fields.name for name in fields.names) and all(
        _field(document, path) for path in (*fields.kinds, fields.digest)
    )


def find_view(database: Database, document: dict[str, Any], fields: RunFields) -> dict[str, Any] | None:
    """Read the document of the run's saved view; None if there is none."""
    return database.views.find_one({"_dataset_id": document["_id"], "name": fields.view})


def shows(view: dict[str, Any], worst: list[str]) -> bool:
    """Whether a saved view selects exactly these samples in this order and has no other stage."""
    stages = [json.loads(stage) for stage in view["view_stages"]]
    wanted = {"sample_ids": worst, "ordered": True}
    return [(stage["_cls"].rpartition(".")[2], dict(stage["kwargs"])) for stage in stages] == [("Select", wanted)]


def is_view_unedited(view: dict[str, Any], document: dict[str, Any], fields: RunFields) -> bool:
    """Whether a saved view is unchanged since `agar view` saved it."""
    return bool(_field(document, fields.name).get("info", {}).get(VIEW_MARK) == view_digest(view))


def view_digest(view: dict[str, Any]) -> str:
    """SHA-256 of the parts of a saved view that a user can change: name, description, colour, stages."""
    content = [view["name"], view.get("description"), view.get("color"), view["view_stages"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _field(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the record of a field, with an `info` that is never None; empty if the field does not exist."""
    fields: list[dict[str, Any]] = document.get("sample_fields") or []
    found: dict[str, Any] = {}
    for step in path.split("."):
        found = next((field for field in fields if field["name"] == step), {})
        fields = found.get("fields") or []
    return {**found, "info": found.get("info") or {}} if found else {}
