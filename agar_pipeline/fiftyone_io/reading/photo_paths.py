"""Lists the photos of all datasets of a database, so that no command overwrites one of them."""

from __future__ import annotations

from pathlib import Path

from agar_pipeline.fiftyone_io.database.connection import connect, open_database
from agar_pipeline.fiftyone_io.database.settings import database_name


def read_photo_paths(database: str, home: Path) -> list[str]:
    """Read the file paths of all samples of all datasets.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with open_database(database, home) as uri, connect(uri) as client:
        known = client[database_name()]
        collections = known.datasets.find({}, {"sample_collection_name": 1})
        return [
            sample["filepath"]
            for collection in collections
            for sample in known[collection["sample_collection_name"]].find(
                {"filepath": {"$type": "string"}}, {"_id": 0, "filepath": 1}
            )
        ]
