"""The process that owns the home's mongod, and ends it when nobody has used it for a while, or its folder is gone.

Started by `embedded`, once per home; imports nothing heavy. It lives in a session of its own, so neither Ctrl-C nor
the end of a client reaches it; mongod dies with it. Clients tell that they are there by a shared lock on
`clients.lock`, which the kernel frees whatever way they end.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

START_S = 20.0
CACHE_GB = 0.5
LOG_BYTES = 10_000_000
_POLL_S = 0.25
_PR_SET_PDEATHSIG = 1


def main(mongod: str, folder: Path, idle_s: float) -> int:
    """Own a mongod until it ends, had no client for `idle_s`, or lost its folder; 0 where it was shut down in order."""
    if os.fork():  # the client's child ends here: the keeper has no parent that could take it along
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keeper_lock = (folder / "keeper.lock").open("w")
    if not _lock_within(keeper_lock, START_S):
        _publish(folder, {"error": f"another keeper holds {folder / 'keeper.lock'}"})
        return 1
    process = None
    try:
        process, port = _start(mongod, folder)
        if process is None:
            _publish(folder, {"error": last_words(folder / "mongod.log")})
            return 1
        _publish(folder, {"port": port, "pid": process.pid, "keeper_pid": os.getpid()})
        return _keep(process, folder, idle_s)
    finally:
        if process is not None:
            (folder / "server.json").unlink(missing_ok=True)
            _stop(process)


def _start(mongod: str, folder: Path) -> tuple[subprocess.Popen[bytes] | None, int]:
    log = folder / "mongod.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.unlink()
    deadline = time.monotonic() + START_S
    while True:
        port = _free_port()
        command = [mongod, "--dbpath", str(folder / "db"), "--port", str(port), "--bind_ip", "127.0.0.1"]
        command += ["--nounixsocket", "--wiredTigerCacheSizeGB", str(CACHE_GB), "--quiet"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--logpath", str(log), "--logappend"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=_end_with_keeper
        )
        while process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process, port
            if time.monotonic() > deadline:
                _stop(process)
                break
            time.sleep(0.02)
        if time.monotonic() > deadline - START_S / 2 or not is_passing(last_words(log)):
            return None, port
        time.sleep(0.2)


def _keep(process: subprocess.Popen[bytes], folder: Path, idle_s: float) -> int:
    idle_since: float | None = None
    with (folder / "clients.lock").open("w") as clients:
        while process.poll() is None:
            if not _try_lock(clients):
                idle_since = None
            else:
                idle_since = idle_since or time.monotonic()
                if time.monotonic() - idle_since > idle_s or not (folder / "server.json").exists():
                    return _leave(process, folder)
                fcntl.flock(clients, fcntl.LOCK_UN)
            time.sleep(_POLL_S)
    return 1


def _leave(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Shut down while the clients' lock is held: new clients wait for the end, then start a new keeper."""
    (folder / "server.json").unlink(missing_ok=True)
    _stop(process)
    return 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(START_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_with_keeper() -> None:
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_within(file: IO[str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _try_lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _publish(folder: Path, plain: dict[str, object]) -> None:
    draft = folder / f"server.json.{os.getpid()}"
    draft.write_text(json.dumps(plain))
    draft.replace(folder / "server.json")


def is_passing(words: str) -> bool:
    """Somebody was faster at the port, or the last mongod is still leaving the folder."""
    return any(sign in words for sign in ("already in use", "DBPathInUse", "already running"))


def last_words(log: Path) -> str:
    """The last error that mongod wrote down, in one line."""
    try:
        lines = [json.loads(line) for line in log.read_text(errors="replace").splitlines()[-200:] if line[:1] == "{"]
    except (OSError, ValueError):
        lines = []
    for line in reversed(lines):
        if line.get("s") in {"F", "E"}:
            attributes = line.get("attr", {})
            return f"{line.get('msg')}: {attributes.get('error') or attributes.get('message') or attributes}"[:300]
    return f"mongod did not start within {START_S:g} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
