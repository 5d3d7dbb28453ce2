"""A database of the user's own: made by FiftyOne itself, in a mongod that is not ours."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from agar_pipeline.fiftyone_io.database import settings
from tests.conftest import Run, runner
from tests.fiftyone_io.conftest import agar_label, write_plate

OURS = metadata.version("fiftyone")
MAKE = """
import os, sys
uri, photo = sys.argv[1:]
os.environ.update(FIFTYONE_DATABASE_URI=uri, FIFTYONE_DATABASE_VALIDATION="false")
import fiftyone as fo
for name in ("theirs", "other"):
    ds = fo.Dataset(name, persistent=True)
    ds.add_sample(fo.Sample(photo, ground_truth=fo.Detections(detections=[
        fo.Detection(label="E.coli", bounding_box=[.1, .2, .3, .4])])))
    ds.save_view("all", ds.limit(5))
"""


@dataclass(frozen=True)
class Theirs:
    """The user's database: made by FiftyOne itself, in a mongod that is not ours."""

    uri: str
    run: Run
    photos: Path
    home: Path

    @property
    def client(self) -> pymongo.MongoClient:
        return pymongo.MongoClient(self.uri)

    def says(self, database: str | None, datasets: dict[str, str]) -> dict[str, str]:
        """Let the database's own records name these versions; returns the dump."""
        with self.client as client:
            there = client["fiftyone"]
            change = {"$set": {"version": database}} if database else {"$unset": {"version": 1}}
            there.config.update_one({}, change)
            for name in ("theirs", "other"):
                there.datasets.update_one({"name": name}, {"$set": {"version": datasets.get(name, OURS)}})
        return self.dump()

    def versions(self) -> dict[str, str]:
        with self.client as client:
            there = client["fiftyone"]
            found = {document["name"]: document["version"] for document in there.datasets.find()}
            record = there.config.find_one({})
            assert record is not None
            return {"": record["version"], **found}

    def dump(self) -> dict[str, str]:
        """Every collection, byte for byte."""
        raw: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
        with self.client as client:
            there = client.get_database("fiftyone", codec_options=raw)
            return {
                name: hashlib.sha256(b"".join(sorted(found.raw for found in there[name].find()))).hexdigest()
                for name in there.list_collection_names()
            }


@contextlib.contextmanager
def their_database(folder: Path) -> Iterator[Theirs]:
    """A mongod on this folder, with the datasets that `MAKE` makes."""
    (folder / "db").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(settings.mongod_path()), "--dbpath", str(folder / "db"), "--port", str(port)]
    process = subprocess.Popen([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], stdout=subprocess.DEVNULL)
    uri, photos = f"mongodb://127.0.0.1:{port}/?directConnection=true", folder / "photos"
    write_plate(photos, "1", [agar_label(5, 20)])
    (folder / "coco.json").write_text(
        '{"images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 80}], "categories": [], "annotations": []}'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    subprocess.run([sys.executable, "-c", MAKE, uri, str(photos / "1.jpg")], check=True, env=environment)
    try:
        yield Theirs(uri, runner({"AGAR_HOME": str(folder / "home")}), photos, folder / "home")
    finally:
        process.kill()
        process.wait()
