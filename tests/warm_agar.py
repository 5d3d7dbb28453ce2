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
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from agar_pipeline.processes.child import die_with_parent

BIN = Path(sys.executable).parent
FREE = ("AGAR_", "DAGSTER_", "FIFTYONE_", "PYTEST_", "TORCHINDUCTOR_")
"""Prefixes of variables that no import of `PRELOADED` reads. `agar_pipeline.definitions` does, and is not among them.
torch sets one of them in the process that imports it."""
PRELOADED = (
    "alembic.command", "dagster", "hydra", "jinja2", "matplotlib.figure", "pandas", "PIL.Image", "pyarrow.parquet",
    "torchvision", "agar_pipeline.chain.build", "agar_pipeline.commands.plan",
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
    """Answer each call by a process of its own, in which this function returns when the command is to be run.

    The answer is the process's id, and its exit code when it has ended.
    """
    die_with_parent()
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection would copy the pages of the forked processes
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not listener:
                    _tell_exit_code(selector, key)
                    continue
                connection, _ = listener.accept()
                folder = Path(connection.recv(4096).decode())
                pid = os.fork()
                if pid == 0:
                    listener.close()
                    connection.close()
                    _become(folder, **json.loads((folder / "request.json").read_text()))
                    return
                connection.sendall(str(pid).encode())
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def _tell_exit_code(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, connection = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError), connection:  # who waited for it may have given up
        connection.sendall(str(code).encode())


def _become(folder: Path, words: list[str], env: dict[str, str], cwd: str) -> None:
    sys.argv, sys.path[0] = words, str(BIN)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / stream, os.O_WRONLY | os.O_CREAT), number)


def run_to_the_end(command: Callable[[], None]) -> None:
    """Run a command, and end as Python does, apart from taking the modules down: that copies all their memory."""
    code = 1
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - shown as Python shows it
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    serve(socket.socket(fileno=int(sys.argv[1])))
    from agar_pipeline.commands import main

    run_to_the_end(main)
