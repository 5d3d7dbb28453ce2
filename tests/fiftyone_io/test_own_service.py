"""`database: fiftyone` with the real thing: FiftyOne's own service, and FiftyOne itself as another client of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pymongo
import pytest

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.own_service import own_database

HOLD = """
import sys
from pathlib import Path
from agar_pipeline.fiftyone_io.own_service import own_database
print(own_database(Path(sys.argv[1]), may_create=True), flush=True)
sys.stdin.read()
"""
FIFTYONE = """
import os
import fiftyone as fo
fo.Dataset("theirs", persistent=True).add_sample(fo.Sample("/images/1.jpg", gt=fo.Detections(detections=[])))
print(os.environ["FIFTYONE_PRIVATE_DATABASE_PORT"], fo.core.odm.database._db_service.attached)
"""
LOOK = """
import sys
from pathlib import Path
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.observe import observe_dataset
try:
    observe_dataset(SnapshotConfig(dataset="theirs", database="fiftyone", label_field="gt"), Path(sys.argv[1]))
except DatasetError as error:
    print("none of the 1 image files can be read" in str(error), "fiftyone" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's FiftyOne keeps its database."""
    folder = tmp_path / "their database"
    for name in [name for name in os.environ if name.startswith("FIFTYONE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(folder))
    monkeypatch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")
    return folder


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a Python process of ours; all of them are gone after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, str(tmp_path / "home")]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_is_shared_with_fiftyone_and_ends_with_its_last_client(
    start: Callable[[str], subprocess.Popen[str]], folder: Path
) -> None:
    first, second = start(HOLD), start(HOLD)
    uri, same = (process.stdout.readline().strip() for process in (first, second))  # type: ignore[union-attr]
    assert uri == same
    port, attached = start(FIFTYONE).communicate(timeout=120)[0].splitlines()[-1].split()
    assert f":{port}/" in uri
    assert attached == "True", "FiftyOne finds our service as it finds its own"
    first.kill()
    first.wait()
    with pymongo.MongoClient(uri) as client:
        before = _content(client)
        assert before["datasets"][0]["name"] == "theirs"
        assert start(LOOK).communicate(timeout=60)[0].split() == ["True", "False"], "read without FiftyOne's import"
        assert _content(client) == before, "nothing was written"
    assert _mongods(folder)
    second.kill()
    second.wait()
    deadline = time.monotonic() + 15
    while _mongods(folder):
        assert time.monotonic() < deadline, "mongod ends with its last client"
        time.sleep(0.05)


def test_a_user_without_a_database_gets_none_by_a_look(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"has no database yet: .*their database holds none\nimport"):
        own_database(tmp_path / "home")
    assert not folder.exists()


def test_a_damaged_database_is_named_with_its_log(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    for name in ("WiredTiger", "WiredTiger.turtle"):
        (folder / name).write_text("damaged")
    with pytest.raises(DatabaseError, match=r"does not start in .*their database: [\s\S]*mongo\.log"):
        own_database(tmp_path / "home")


def _content(client: pymongo.MongoClient) -> dict[str, list[dict[str, object]]]:
    database = client["fiftyone"]
    return {name: list(database[name].find()) for name in sorted(database.list_collection_names())}


def _mongods(folder: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if str(folder) in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
