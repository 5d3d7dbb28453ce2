"""One home with one real mongod for the whole session; datasets are made by one FiftyOne child, then copied raw."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from PIL import Image

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.import_images import import_images
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone

COLONIES = Path(__file__).resolve().parents[3] / "shared" / "data" / "colonies"
MAKE_DATASETS = """
import json, sys
from agar_pipeline.fiftyone_io.importing.prepare_dataset import prepare_dataset
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
uri, = sys.argv[1:]
fo = import_fiftyone(uri, may_write=True)
prepare_dataset(fo, "template", ["agar_background", "agar_sample_id", "import_digest", "import_record"], print)
fo.Dataset("fleeting", persistent=False)
ds = fo.Dataset("views", persistent=True)
ds.add_samples([
    fo.Sample(f"/images/{i}.jpg", tags=["odd" if i % 2 else "even"],
              number=i, share=i / 2, good=i > 2, name=f"n{i}",
              gt=fo.Detections(detections=[fo.Detection(label="a", bounding_box=[.1, .2, .3, .4], confidence=.5),
                                           fo.Detection(label="b", bounding_box=[.1, .2, .3, .4])]),
              deep=fo.DynamicEmbeddedDocument(gt=fo.Detections(detections=[])),
              kind=fo.Classification(label="x"))
    for i in range(6)], dynamic=True)
F = fo.ViewField
ds.save_view("only_a", ds.filter_labels("gt", F("label") == "a").match(F("number") < 4))
ds.save_view("bare", ds.select_fields("number"))
ds.save_view("patches", ds.to_patches("gt"))
fo.Dataset("movies", persistent=True).add_sample(fo.Sample("/images/film.mp4"))
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    before = os.environ.get("AGAR_HOME")
    os.environ["AGAR_HOME"] = str(folder)
    yield folder
    stop_keeper(folder)
    if before is None:
        del os.environ["AGAR_HOME"]
    else:
        os.environ["AGAR_HOME"] = before


@pytest.fixture(scope="session")
def uri(home: Path) -> Iterator[str]:
    """The session's database, with the datasets that `MAKE_DATASETS` makes."""
    with open_database("embedded", home) as address:
        subprocess.run([sys.executable, "-c", MAKE_DATASETS, address], check=True, env=child_env())
        yield address


@pytest.fixture(scope="session")
def database(uri: str) -> Iterator[Any]:
    with pymongo.MongoClient(uri) as client:
        yield client["fiftyone"]


@pytest.fixture(scope="session")
def parsers() -> None:
    """FiftyOne's parsers in this process: a child would spend seconds on each import of FiftyOne."""
    before = dict(os.environ)
    import_fiftyone("mongodb://127.0.0.1:1")  # parsing needs no database
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def new_dataset(database: Any) -> Iterator[Callable[[], str]]:
    """Makes empty datasets that FiftyOne's import fields are ready in; gone after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"dataset-{uuid.uuid4().hex[:8]}"
        document = database.datasets.find_one({"name": "template"})
        collection = f"samples.{ObjectId()}"
        database.datasets.insert_one(
            {**document, "_id": ObjectId(), "name": name, "slug": name, "sample_collection_name": collection}
        )
        made.append(name)
        return name

    yield make
    for name in made:
        database[collection_of(database, name)].drop()
        database.datasets.delete_one({"name": name})


@pytest.fixture(scope="session")
def person(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Somebody with FiftyOne on the session's database; see `tests.fiftyone_io.importing.person`."""
    from tests.fiftyone_io.importing.person import Person

    somebody = Person(uri, tmp_path_factory.mktemp("person") / "log")
    yield somebody
    somebody.leaves()


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    """Six small plates in AGAR's format, 2 boxes each but for the last, which is empty."""
    folder = tmp_path / "plates"
    folder.mkdir()
    for number in range(6):
        labels = [] if number == 5 else [agar_label(10 * number, 10), agar_label(5, 20, label="B.subtilis")]
        write_plate(folder, str(number), labels)
    return folder


def agar_label(x: float, y: float, width: float = 20, height: float = 10, label: str = "E.coli") -> dict[str, Any]:
    return {"id": 1, "class": label, "x": x, "y": y, "width": width, "height": height}


def write_plate(folder: Path, name: str, labels: list[Any] | None, count: int | None = None, color: int = 90) -> None:
    """A 100×80 photo, and its annotation."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (100, 80), (color, len(name), 0)).save(folder / f"{name}.jpg")
    plain = {"sample_id": 7, "background": "bright", "colonies_number": len(labels or []) if count is None else count}
    (folder / f"{name}.json").write_text(json.dumps(plain if labels is None else {**plain, "labels": labels}))


def collection_of(database: Any, dataset: str) -> str:
    return database.datasets.find_one({"name": dataset})["sample_collection_name"]


def resolver(database: Any) -> Callable[[SnapshotConfig], ResolvedSource]:
    """What FiftyOne would answer for a whole dataset of the template's fields, without its seconds of import."""

    def resolve(config: SnapshotConfig) -> ResolvedSource:
        return ResolvedSource(collection_of(database, config.dataset), "[]", f"{config.label_field}.detections")

    return resolve


def child_env(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def server(home: Path) -> dict[str, Any]:
    return json.loads((home / "fiftyone" / "server.json").read_text())


def stop_keeper(home: Path) -> None:
    """Ask our own keeper to end now rather than after its idle time."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        keeper_pid = server(home).get("keeper_pid")
        if keeper_pid is not None:
            os.kill(keeper_pid, signal.SIGTERM)


def import_agar(folder: Path, dataset: str, home: Path) -> ImportCounts:
    source = ImportSource("agar", str(folder))
    return import_images(source, dataset, "embedded", home, print, lambda done, total: None)
