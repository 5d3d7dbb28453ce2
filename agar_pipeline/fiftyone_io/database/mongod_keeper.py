"""Process that owns a mongod and shuts it down when it has had no client for a while or its folder is removed.

`mongod_client` starts one keeper per data folder; the keeper imports no heavy library. It runs in its own session, so
that neither Ctrl-C nor the end of a client stops it; mongod ends together with it. Each client holds a shared lock on
`clients.lock`, which the kernel releases when the client ends in any way.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agar_pipeline.errors import DatabaseError, PipelineError, StorageError
from agar_pipeline.files.disk import replace_file
from agar_pipeline.files.locks import lock_within
from agar_pipeline.files.private_files import open_private, private_folder

SOCKET = "mongod.sock"
SOCKET_BYTES = 107
START_S = 20.0
CACHE_GB = 0.5
LOG_BYTES = 10_000_000
JOURNAL = "log=(file_max=32MB,prealloc=false)"
"""Journal settings. With WiredTiger's defaults (100 MB, two files preallocated) a home takes 300 MB for a few kB."""
_TMP = "/tmp"  # noqa: S108 - a private folder of ours is made in it
_POLL_S = 0.25
_PR_SET_PDEATHSIG = 1


def main(mongod: str, folder: Path, data: Path, idle_s: float) -> int:
    """Own a mongod until it ends, has had no client for `idle_s` seconds, or its folder is removed.

    Args:
        folder: Folder of locks, log, and usually the socket; other users cannot open it.
        data: Data folder that mongod serves.
        idle_s: Seconds without a client after which mongod is shut down.

    Returns:
        Exit code: 0 after an orderly shutdown, otherwise 1.
    """
    if os.fork():  # the client's child ends here, so that no parent can end the keeper
        return 0
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keeper_lock = open_private(folder / "keeper.lock")
    if not lock_within(keeper_lock, START_S):
        _publish_error(
            folder,
            DatabaseError(
                "is still used by another command",
                where=f"an earlier mongod of {data}",
                next_step="run the command again when that one has ended",
            ),
        )
        return 1
    process = path = None
    try:
        path = _socket_path(folder)
        process = _start(mongod, folder, data, path)
        if process is None:
            _publish_error(folder, _not_started(folder / "mongod.log", data))
            return 1
        _publish(folder, {"socket": str(path), "pid": process.pid, "keeper_pid": os.getpid()})
        return _keep(process, folder, path, idle_s)
    except StorageError as error:
        _publish_error(folder, error)
        return 1
    finally:
        if process is not None:
            (folder / "server.json").unlink(missing_ok=True)
            _stop(process)
        if path is not None:
            _clear(path, folder)


def _socket_path(folder: Path) -> Path:
    """Choose the path of the socket: in mongod's folder, otherwise in a private folder in the temporary directory.

    The second place is needed because a socket's path may have at most 107 bytes, a comma would split it in
    `--bind_ip`, a colon or bracket would split it in an address, and some file systems have no sockets. The temporary
    directory is preferred to XDG_RUNTIME_DIR, which is emptied when the user logs out while a run may continue.

    Raises:
        StorageError: No socket can be created, or the private folder belongs to another user.
    """
    name = f"agar-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    for place in (folder, *(Path(temporary) / name for temporary in (tempfile.gettempdir(), _TMP))):
        path = place / SOCKET
        if len(os.fsencode(path)) <= SOCKET_BYTES and not set(",:[]") & set(str(path)):
            private_folder(place)
            path.unlink(missing_ok=True)  # a mongod that was killed leaves its socket
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.bind(str(path))
                path.unlink()
                return path
    raise StorageError(
        f"cannot hold a socket, nor can {tempfile.gettempdir()}: the paths are too long, or the disks have no sockets",
        where=folder,
        next_step="set AGAR_HOME to a folder with a short path on a local disk",
    )


def _clear(path: Path, folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    if path.parent != folder:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _start(mongod: str, folder: Path, data: Path, path: Path) -> subprocess.Popen[bytes] | None:
    log = folder / "mongod.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.unlink()
    command = [mongod, "--dbpath", str(data), "--bind_ip", str(path), "--filePermissions", "0600"]
    command += ["--nounixsocket"]  # no default socket /tmp/mongodb-27017.sock, which is outside the folder
    command += ["--noscripting", "--wiredTigerCacheSizeGB", str(CACHE_GB), "--quiet"]
    command += ["--wiredTigerEngineConfigString", JOURNAL]
    command += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--logpath", str(log), "--logappend"]
    deadline = time.monotonic() + START_S
    while True:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=_end_with_keeper
        )
        while process.poll() is None:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    return process
            if time.monotonic() > deadline:
                _stop(process)
                break
            time.sleep(0.02)
        if time.monotonic() > deadline - START_S / 2 or not is_passing(last_words(log)):
            return None
        time.sleep(0.2)


def _keep(process: subprocess.Popen[bytes], folder: Path, path: Path, idle_s: float) -> int:
    idle_since: float | None = None
    with open_private(folder / "clients.lock") as clients:
        while process.poll() is None:
            if not lock_within(clients, 0):
                idle_since = None
            else:
                idle_since = idle_since or time.monotonic()
                in_place = (folder / "server.json").exists() and path.exists()
                if time.monotonic() - idle_since > idle_s or not in_place:
                    return _leave(process, folder)
                fcntl.flock(clients, fcntl.LOCK_UN)
            time.sleep(_POLL_S)
    return 1


def _leave(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Shut mongod down while holding the clients' lock, so that new clients wait for it and then start a new keeper."""
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


def _publish(folder: Path, plain: dict[str, object]) -> None:
    replace_file(folder / "server.json", json.dumps(plain))


def _publish_error(folder: Path, error: PipelineError) -> None:
    """Write the error for the clients that wait for the start; each of them raises it again."""
    _publish(folder, {"error": error.fields})


def _not_started(log: Path, data: Path) -> DatabaseError:
    return DatabaseError(
        f"does not start, mostly because the folder is damaged or libraries are missing: {last_words(log)}",
        where=f"mongod in {data}",
        next_step=f"read {log}, and correct what it says",
    )


def is_passing(words: str) -> bool:
    """Whether a failed start may succeed when repeated, because another mongod still or already uses the folder.

    This happens while an earlier mongod is shutting down, or while the user's FiftyOne starts its own.
    """
    return any(sign in words for sign in ("already in use", "DBPathInUse", "already running"))


def last_words(log: Path) -> str:
    """Return the last error in mongod's log as one line."""
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
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
