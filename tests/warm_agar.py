"""Calls `agar` in a process that is forked from one that has imported its libraries, which are most of a call's time.

The process is the command's own, with its own environment, output and exit code. A call is not forked but started as
usual if a variable other than `AGAR_…` is not as when the tests were started, because an import may have read it. Tests
that signal or kill a command, or that look at its process, start it themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from agar_pipeline.processes.child import die_with_parent

BIN = Path(sys.executable).parent
FREE = ("AGAR_", "DAGSTER_", "FIFTYONE_", "PYTEST_", "TORCHINDUCTOR_")
"""Prefixes of variables that no import of `PRELOADED` reads. `agar_pipeline.definitions` does, and is not among them.
torch sets one of them in the process that imports it."""
PRELOADED = (
    "alembic.command", "dagster", "hydra", "jinja2", "matplotlib.figure", "pandas", "PIL.Image", "pyarrow.parquet",
    "torchmetrics.functional", "torchvision", "agar_pipeline.chain.build", "agar_pipeline.commands.plan",
    "agar_pipeline.commands.run",
    "agar_pipeline.defs.assets", "agar_pipeline.defs.checks", "agar_pipeline.defs.run", "agar_pipeline.defs.sensors",
    "agar_pipeline.fiftyone_io.reading.observe", "agar_pipeline.steps.bbox_report",
)  # fmt: skip


def call_agar(
    arguments: tuple[str, ...], env: dict[str, str], cwd: Path, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of the command, with text output captured."""
    words = [str(BIN / "agar"), *arguments]
    if _fixed(env) != AT_START:
        return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s)
    with tempfile.TemporaryDirectory(prefix="call-") as name, _socket() as connection:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps({"words": words, "env": env, "cwd": str(cwd)}))
        connection.connect(_server())
        connection.sendall(name.encode())
        pid = int(connection.recv(100))
        connection.settimeout(timeout_s)
        try:
            code = int(connection.recv(100))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(words, timeout_s) from None
        output, errors = ((folder / stream).read_text() for stream in ("stdout", "stderr"))
        return subprocess.CompletedProcess(words, code, output, errors)


def _fixed(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(FREE)}


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # one message is received at a time


AT_START = _fixed(dict(os.environ))


@functools.cache
def _server() -> str:
    """Start the process that is forked from; it ends when this one does."""
    folder = tempfile.mkdtemp(prefix="warm-")
    listener = _socket()
    listener.bind(address := f"{folder}/socket")
    listener.listen()
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(listener.fileno())],
        env=AT_START, cwd=Path(__file__).parent.parent, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    listener.close()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.wait)
    atexit.register(process.kill)
    return address


def serve(listener: socket.socket) -> None:
    """Answer each call by a process of its own, in which this function returns when the command is to be run."""
    die_with_parent()
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection would copy the pages of the forked processes
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            listener.close()
            if _answer(connection):
                return
            os._exit(0)
        connection.close()


def _answer(connection: socket.socket) -> bool:
    """Fork the command's process and tell its id and its exit code; returns True in the command's process."""
    folder = Path(connection.recv(4096).decode())
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(folder, **json.loads((folder / "request.json").read_text()))
        return True
    connection.sendall(str(pid).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(str(code).encode())
    return False


def _become(folder: Path, words: list[str], env: dict[str, str], cwd: str) -> None:
    sys.argv, sys.path[0] = words, str(BIN)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / stream, os.O_WRONLY | os.O_CREAT), number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    serve(socket.socket(fileno=int(sys.argv[1])))
    from agar_pipeline.commands import main

    main()
