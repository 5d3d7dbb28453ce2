"""The database: needed by the snapshot alone, so its absence is no reason not to train."""

from __future__ import annotations

from pathlib import Path

from agar_pipeline.errors import PipelineError
from agar_pipeline.preflight.check import Check


def check_database(database: str, home: Path) -> Check:
    """Whether it answers, and which version it is."""
    fix = "see `database` in the pipeline file; artifacts that are there already can be used all the same"
    try:
        from agar_pipeline.fiftyone_io.database import connect, mask, open_database

        with open_database(database, home) as uri, connect(uri) as client:
            version = client.server_info()["version"]
    except ImportError as error:
        return Check("database", "WARN", f"not looked at: {error}", "pip install --no-deps -r requirements.lock")
    except PipelineError as error:
        return Check("database", "WARN", str(error).splitlines()[0], fix)
    return Check("database", "OK", f"mongod {version} at {mask(uri)}")
