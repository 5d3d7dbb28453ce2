"""The names under which a run is seen in FiftyOne, and what a dataset's own record says of the runs in it.

A run's fields carry a mark with the run's name; its first field also keeps a digest of the saved view as it was saved.
What has no mark, or was renamed since, is somebody else's, and is neither written nor removed.
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
"""Of a sample's values, as an attribute of its predictions: see `run_values`."""
VIEW_DESCRIPTION = "largest count errors first"


@dataclass(frozen=True)
class RunFields:
    """Three fields and a saved view, nothing else is touched."""

    name: str
    """Field of the predictions, a Detections with a `kind` each; begins with `agar_`."""

    @property
    def missed(self) -> str:
        """Field of the annotations that no prediction stands for."""
        return f"{self.name}_missed"

    @property
    def count_error(self) -> str:
        """Field of predicted minus annotated colonies."""
        return f"{self.name}_count_error"

    @property
    def names(self) -> tuple[str, str, str]:
        """All fields."""
        return self.name, self.missed, self.count_error

    @property
    def paths(self) -> tuple[str, str, str]:
        """What is declared within them."""
        return f"{self.name}.detections.kind", f"{self.missed}.detections.kind", f"{self.name}.{DIGEST}"

    @property
    def view(self) -> str:
        """Saved view of the worst plates."""
        return f"{self.name} worst plates"


def list_runs(document: dict[str, Any]) -> list[str]:
    """Names of the runs in a dataset, given FiftyOne's record of it."""
    marks = {field["name"]: (field.get("info") or {}).get(MARK) for field in document.get("sample_fields") or []}
    return sorted({mark for name, mark in marks.items() if mark and name in RunFields(mark).names})


def is_declared(document: dict[str, Any], fields: RunFields) -> bool:
    """Whether all fields of a run are there, and ours."""
    return all(_field(document, name).get("info", {}).get(MARK) == fields.name for name in fields.names) and all(
        _field(document, path) for path in fields.paths
    )


def find_view(database: Database, document: dict[str, Any], fields: RunFields) -> dict[str, Any] | None:
    """The document of the run's saved view."""
    return database.views.find_one({"_dataset_id": document["_id"], "name": fields.view})


def shows(view: dict[str, Any], worst: list[str]) -> bool:
    """Whether a saved view is one of these samples in this order, and no more."""
    stages = [json.loads(stage) for stage in view["view_stages"]]
    wanted = {"sample_ids": worst, "ordered": True}
    return [(stage["_cls"].rpartition(".")[2], dict(stage["kwargs"])) for stage in stages] == [("Select", wanted)]


def is_view_unedited(view: dict[str, Any], document: dict[str, Any], fields: RunFields) -> bool:
    """Whether a saved view is as this software saved it."""
    return bool(_field(document, fields.name).get("info", {}).get(VIEW_MARK) == view_digest(view))


def view_digest(view: dict[str, Any]) -> str:
    """Of what a person may change in a saved view."""
    content = [view["name"], view.get("description"), view.get("color"), view["view_stages"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _field(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The record of a field; empty where there is none, and with an `info` that is never None."""
    fields: list[dict[str, Any]] = document.get("sample_fields") or []
    found: dict[str, Any] = {}
    for step in path.split("."):
        found = next((field for field in fields if field["name"] == step), {})
        fields = found.get("fields") or []
    return {**found, "info": found.get("info") or {}} if found else {}
