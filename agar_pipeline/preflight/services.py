"""Checks the database. Only the snapshot needs it, so a missing database never prevents training."""

from __future__ import annotations

from pathlib import Path

from agar_pipeline.config import CocoSnapshotConfig, SnapshotSource
from agar_pipeline.errors import MissingPackageError, PipelineError
from agar_pipeline.preflight.check import Check


def check_source(config: SnapshotSource, home: Path) -> Check:
    """Check whether the database answers, and its version; COCO files need no database."""
    if isinstance(config, CocoSnapshotConfig):
        return Check("database", "OK", f"not needed: the data is {config.describe()}")
    try:
        from agar_pipeline.fiftyone_io.database.connection import connected, open_database
        from agar_pipeline.fiftyone_io.database.connection_errors import show_address
        from agar_pipeline.fiftyone_io.database.revision import read_revisions, require_usable

        with open_database(config.database, home) as uri, connected(uri) as mongo:
            version = mongo.client.server_info()["version"]
            found = read_revisions(mongo, config.dataset)
            require_usable(found, config.database)
    except ImportError as error:
        missing = MissingPackageError.of(ModuleNotFoundError(name="fiftyone"))
        return Check("database", "WARN", f"not checked: {error}", missing.next_step or "")
    except PipelineError as error:
        return Check("database", "WARN", error.problem, f"{error.next_step}; existing artifacts can be used without it")
    return Check("database", "OK", f"mongod {version} at {show_address(uri)}")
