"""`database: fiftyone` with the real thing: our own mongod on its folder, and FiftyOne's service where that runs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pymongo
import pytest

from agar_pipeline.errors import DatabaseError
from agar_pipeline.fiftyone_io.database.fiftyone_service import own_database
from tests.other_user import as_another_user

JOURNALED = {"j": True}
"""A write is acknowledged when no crash can lose it."""
HOLD = """
import sys
from agar_pipeline.fiftyone_io.database.fiftyone_service import own_database
with own_database(may_create=True) as uri:
    print(uri, flush=True)
    sys.stdin.read()
"""
FIFTYONE = """
import sys
import fiftyone as fo
fo.Dataset("theirs", persistent=True).add_sample(fo.Sample("/images/1.jpg", gt=fo.Detections(detections=[])))
print("ready", flush=True)
sys.stdin.read()
"""
LOOK = """
import sys
from pathlib import Path
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading.observe import observe_dataset
try:
    observe_dataset(SnapshotConfig(dataset="theirs", database="fiftyone", label_field="gt"), Path(sys.argv[1]))
except DatasetError as error:
    print("has none of 1 image file, or none can be read" in str(error), "fiftyone" in sys.modules)
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


def test_ours_opens_no_port_is_shared_and_ends_with_its_last_client(
    start: Callable[[str], subprocess.Popen[str]], folder: Path
) -> None:
    first, second = start(HOLD), start(HOLD)
    uri, same = (_line(process) for process in (first, second))
    assert uri == same
    (mongod,) = _mongods(folder)
    assert psutil.Process(mongod).net_connections("inet") == []
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "agar_pipeline")] == [0o700, 0o700]
    _end(first)
    with pymongo.MongoClient(uri) as client:
        assert client.admin.command("ping")["ok"] == 1
        assert client.write_concern.document == JOURNALED
    _end(second)
    _wait_until_gone(folder)


def test_a_session_of_the_users_fiftyone_is_joined(start: Callable[[str], subprocess.Popen[str]], folder: Path) -> None:
    """FiftyOne itself runs: that takes half a minute."""
    theirs = start(FIFTYONE)
    assert _line(theirs) == "ready"
    uri = _line(holder := start(HOLD))
    assert uri.startswith("mongodb://127.0.0.1:")
    with pymongo.MongoClient(uri) as client:
        assert client.write_concern.document == JOURNALED
        before = _content(client)
        assert before["datasets"][0]["name"] == "theirs"
        assert start(LOOK).communicate(timeout=60)[0].split() == ["True", "False"], "read without FiftyOne's import"
        assert _content(client) == before, "nothing was written"
        _end(theirs)
        time.sleep(3)  # longer than FiftyOne's service waits for a new client
        assert client.admin.command("ping")["ok"] == 1, "it stays for us"
    _end(holder)
    _wait_until_gone(folder)
    assert start(LOOK).communicate(timeout=60)[0].split() == ["True", "False"], "now with a mongod of ours"


def test_a_process_of_another_user_is_not_taken_for_theirs(
    start: Callable[[str], subprocess.Popen[str]], folder: Path, tmp_path: Path
) -> None:
    lookalike = tmp_path / "mongod"
    shutil.copy(shutil.which("sleep") or "", lookalike)
    with as_another_user([str(lookalike), "60", "--dbpath", str(folder)], tmp_path):
        uri = _line(start(HOLD))
    assert uri.startswith("mongodb://%2F")
    with pymongo.MongoClient(uri) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_user_without_a_database_gets_none_by_a_look(folder: Path) -> None:
    with pytest.raises(
        DatabaseError, match=r"has no database yet: .*their database holds none .*FIFTYONE_DATABASE_DIR.*\nimport"
    ):
        own_database().__enter__()
    assert not folder.exists()


def test_a_damaged_database_is_named_with_its_log(folder: Path) -> None:
    folder.mkdir()
    for name in ("WiredTiger", "WiredTiger.turtle"):
        (folder / name).write_text("damaged")
    with pytest.raises(DatabaseError, match=r"mongod in .*their database does not start, [\s\S]*mongod\.log"):
        own_database().__enter__()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 15
    while _mongods(folder):
        assert time.monotonic() < deadline, "mongod ends with its last client"
        time.sleep(0.05)


def _content(client: pymongo.MongoClient) -> dict[str, list[dict[str, object]]]:
    database = client["fiftyone"]
    return {name: list(database[name].find()) for name in sorted(database.list_collection_names())}


def _mongods(folder: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if str(folder) in (process.info["cmdline"] or [])[1:]
        and Path(process.info["cmdline"][0]).name == "mongod"
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
