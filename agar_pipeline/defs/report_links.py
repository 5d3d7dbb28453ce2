"""Links to reports that a browser opens from the web UI.

A page that came over HTTP may not open a `file://`. Dagster's own server hands out whatever lies in its folder of logs,
so the reports are there too: as hard links, one per artifact. That of a dropped artifact goes when the next is put in.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.artifacts import Artifact
from agar_pipeline.files.disk import link_or_copy

FOLDER = "reports"
PAGE = "report"


def page_metadata(instance: dg.DagsterInstance, artifact: Artifact) -> dict[str, Any]:
    """Where the page of an artifact lies, and a link to it; nothing if it has none."""
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
    """Link a page into its place, and take out those whose artifacts are gone."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        linked = link_or_copy(page, place)
    except FileExistsError:  # another run was faster
        return
    for other in place.parent.parent.glob(f"*/{PAGE}.html") if linked else ():
        if other.stat().st_nlink == 1:
            other.unlink(missing_ok=True)
            other.parent.rmdir()
