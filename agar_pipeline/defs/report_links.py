"""Provides links to reports that a browser can open from the web UI.

A page served over HTTP may not open a `file://` URL. Dagster's server serves every file in its folder of logs, so each
report is hard-linked there, once per artifact. Links to removed artifacts are deleted when the next one is created.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.artifacts import Artifact
from agar_pipeline.files.disk import link_or_copy

FOLDER = "reports"
PAGE = "report"


def page_metadata(instance: dg.DagsterInstance, artifact: Artifact) -> dict[str, Any]:
    """Return the path of an artifact's page, and a link to it; empty if it has no page."""
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    page = artifact.root / f"{PAGE}.html"
    if not page.exists():
        return {}
    shown: dict[str, Any] = {}
    logs = instance.compute_log_manager
    if isinstance(logs, LocalComputeLogManager):
        name = [FOLDER, artifact.manifest.fingerprint, PAGE]
        _put(page, Path(logs.get_captured_local_path(name, "html")))
        shown["open_report"] = dg.MetadataValue.url(f"/logs/{'/'.join(name)}/html")
    return {**shown, "report": dg.MetadataValue.path(page)}


def _put(page: Path, place: Path) -> None:
    """Link a page to its place, and delete links to pages of removed artifacts."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        linked = link_or_copy(page, place)
    except FileExistsError:  # another run has created it since
        return
    for other in place.parent.parent.glob(f"*/{PAGE}.html") if linked else ():
        if other.stat().st_nlink == 1:
            other.unlink(missing_ok=True)
            other.parent.rmdir()
