"""`python -m tests.web.app HOME PHOTOS`: FiftyOne's App on a saved view of some photos, as `agar view` serves it."""

from __future__ import annotations

import sys
from pathlib import Path

from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
from agar_pipeline.fiftyone_io.writing.app import open_app, prepare_server


def main(home: Path, photos: Path) -> None:
    with open_database("embedded", home) as uri:
        prepare_server()
        fiftyone = import_fiftyone(uri, may_write=True)
        dataset = fiftyone.Dataset("plates", persistent=True)
        dataset.add_samples([fiftyone.Sample(filepath=str(path)) for path in sorted(photos.glob("*.jpg"))])
        dataset.save_view("the worst", dataset.limit(2))
        open_app(fiftyone, dataset, "the worst", home, print)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)
