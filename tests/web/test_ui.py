"""`agar ui`: which home it serves, to whom, and that nothing of it is left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil

from agar_pipeline.web import listen
from tests.conftest import BIN, CHECKOUT
from tests.web.callers import free_port, serving, wait_for

ODD = (
    *("/logs/..%2f..%2fetc/passwd.out", "/logs/%2e%2e/x.out", "/logs/../../x.out", "/logs/a/..", "/logs/..%5c..%5cx"),
    *("/logs/a%00b.out", "/logs/a/b%00.out", "/logs/a/%ff.out", "/logs/%252e%252e%252fx.out", "/logs/x", "/logs/"),
    *(f"/logs/a/{'a' * 300}.out", f"/logs/{'a/' * 3000}x.out", "/download_debug/nope", "/download_debug/a%00b"),
    *("/_next/..%2f..%2fx.js", "/..%2f..%2fetc%2fpasswd", "/assets/a%0ab", "/a%5cb"),
)
"""Encoded slashes, backslashes, control characters, overlong names."""
PERMISSIONS = "{permissions {permission value}}"


def test_a_read_only_ui_shows_a_home_and_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [str(BIN / "agar"), "ui", "--port", str(free_port()), "--read-only", "--allow-host", "lab.example:80"]
    with serving(command, home, "ui", {"AGAR_HOME": str(home), "AGAR_PIPELINE": "demo"}) as server:
        assert f"home {home}, pipeline demo: open {server.url}" in (tmp_path / "ui.log").read_text()
        assert not any(each["value"] for each in server.query(PERMISSIONS)["permissions"])
        assert server.query("{assetNodes {assetKey {path}}}")["assetNodes"], "the definitions are there"
        for path in ODD:
            assert server.ask(path, server.cookie).status == 404, path
        assert "Traceback" not in (tmp_path / "ui.log").read_text()
        assert server.ask("/assets/demo/evaluation?view=lineage", server.cookie).status == 200
        assert server.ask("/", {"Host": "lab.example:80"} | server.cookie).status == 200
        family = psutil.Process(server.pid).children(recursive=True)
        assert len(family) >= 3, "code server, its process with the definitions, daemon"
    assert not [process for process in family if process.is_running()]


def test_a_daemon_that_dies_ends_the_ui_with_a_word(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [str(BIN / "agar"), "ui", "--port", str(free_port())]
    with serving(command, home, "ui", {"AGAR_HOME": str(home), "AGAR_PIPELINE": "demo"}, code=1) as server:
        family = psutil.Process(server.pid).children(recursive=True)
        (daemon,) = [process for process in family if "dagster._daemon" in process.cmdline()]
        daemon.kill()
        wait_for(lambda: "daemon ended with exit code -9" in (tmp_path / "ui.log").read_text(), tmp_path / "ui.log")
    assert not [process for process in family if process.is_running()]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with listen(0) as taken:
        command = [str(BIN / "agar"), "ui", "--port", str(taken.getsockname()[1])]
        env = {"AGAR_HOME": str(tmp_path / "home"), "PATH": str(BIN)}
        done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is taken by another program" in done.stderr
