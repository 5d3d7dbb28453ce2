"""Another real user of the machine against the embedded database: no way in, and nothing to hold it up with."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.errors import ComputeError, DatabaseError, StorageError
from agar_pipeline.fiftyone_io.database.connection import connect, open_database
from agar_pipeline.processes.launch import run_child
from tests.fiftyone_io.conftest import server, stop_keeper
from tests.other_user import NOBODY, answer_of_another_user, require_another_user


@pytest.fixture(params=["short", "long" * 30])
def reached_home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home, of a short or a long path, that other users can come to, as under many a /home."""
    monkeypatch.setenv("AGAR_DATABASE_IDLE_S", "0.5")
    home = tmp_path / str(request.param)
    home.mkdir()
    require_another_user(home)
    yield home
    stop_keeper(home)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _connect(path: Path) -> Callable[[], Any]:
    def act() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        return "connected"

    return act


def _hold(path: Path) -> Callable[[], Any]:
    def act() -> str:
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "held"

    return act


def test_another_user_cannot_reach_read_or_hold_anything_of_it(reached_home: Path) -> None:
    folder = reached_home / "fiftyone"
    with open_database("embedded", reached_home) as uri, connect(uri) as client:
        client.fiftyone.marks.insert_one({"secret": True})
        reached_home.chmod(0o755)  # so that the database's own folder alone keeps them out
        path = Path(server(reached_home)["socket"])
        assert answer_of_another_user(_connect(path)) == "PermissionError"
        assert "fiftyone" in answer_of_another_user(lambda: _names(reached_home))
        for inside in (folder, path.parent):
            assert answer_of_another_user(partial(_names, inside)) == "PermissionError"
        for name in ("clients.lock", "keeper.lock", "start.lock", "server.json", "mongod.log"):
            assert answer_of_another_user(_hold(folder / name)) == "PermissionError"
        assert answer_of_another_user(_tcp_ports_of(server(reached_home)["pid"])) == []


def test_a_folder_that_another_user_has_taken_is_refused(reached_home: Path) -> None:
    with open_database("embedded", reached_home):
        path = Path(server(reached_home)["socket"])
    stop_keeper(reached_home)
    taken = path.parent if path.parent != reached_home / "fiftyone" else reached_home / "fiftyone"
    _wait_until_gone(reached_home)
    taken.mkdir(exist_ok=True)
    os.chown(taken, NOBODY, NOBODY)
    try:
        with (
            pytest.raises((StorageError, DatabaseError), match=rf"{taken} belongs to another user \(uid {NOBODY}"),
            open_database("embedded", reached_home),
        ):
            pass
    finally:
        os.chown(taken, 0, 0)
        if taken != reached_home / "fiftyone":
            taken.rmdir()  # it lies among the machine's temporary files


@pytest.mark.parametrize("ranks", [1, 2], ids=["one process", "ranks"])
def test_our_children_import_nothing_from_the_folder_we_are_called_in(
    ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of photos that others can write, say: Python would take a module there for its own."""
    came = tmp_path / "came"
    for module in ("fcntl", "orjson", "agar_pipeline"):
        (tmp_path / f"{module}.py").write_text(f"open({str(came)!r}, 'w')\n")
    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ComputeError, match="ended with exit code"):
        run_child("agar_pipeline.fiftyone_io", {"do": "nothing"}, print, ranks=ranks)
    assert not came.exists()


def _tcp_ports_of(pid: int) -> Callable[[], Any]:
    """All listening ports of the machine that belong to a process; the table of ports is open to everybody."""
    inodes = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}

    def act() -> list[str]:
        rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
        return [row[1] for row in rows if f"socket:[{row[9]}]" in inodes]

    return act


def _wait_until_gone(home: Path) -> None:
    deadline = time.monotonic() + 15
    while (home / "fiftyone" / "server.json").exists() or list((home / "fiftyone").glob("*.sock")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
