"""Calls `agar` in a process that is forked from one that has imported its libraries, which are most of a call's time.

The process is the command's own, with its own environment, output and exit code. A call is not forked but started as
usual if a variable other than `AGAR_…` is not as when the tests were started, because an import may have read it. Tests
that signal or kill a command, or that look at its process, start it themselves.

A step that such a command starts in a process of its own is forked in the same way, if it has one rank.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
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
from types import SimpleNamespace
from typing import Any

from agar_pipeline.processes import launch
from agar_pipeline.processes.child import CHILD_ENV, PARENT_PID, die_with_parent
from agar_pipeline.processes.environment import child_environment

BIN = Path(sys.executable).parent
FREE = ("AGAR_", "CUDA_VISIBLE_DEVICES", "DAGSTER_", "FIFTYONE_", "PYTEST_", "TORCHINDUCTOR_")
"""Prefixes of variables that no import of `PRELOADED` reads. `agar_pipeline.definitions` does, and is not among them.
torch sets one of them in the process that imports it."""
PRELOADED = (
    "alembic.command", "dagster", "hydra", "jinja2", "lightning.pytorch", "matplotlib.figure", "pandas", "PIL.Image",
    "pyarrow.parquet", "torchvision", "agar_pipeline.chain.build", "agar_pipeline.commands.plan",
    "agar_pipeline.commands.run",
    "agar_pipeline.defs.assets", "agar_pipeline.defs.checks", "agar_pipeline.defs.run", "agar_pipeline.defs.sensors",
    "agar_pipeline.detection.inference.predict", "agar_pipeline.detection.training.train",
    "agar_pipeline.fiftyone_io.reading.observe", "agar_pipeline.steps.bbox_report", "agar_pipeline.steps.evaluation",
    "agar_pipeline.steps.smoke_run", "agar_pipeline.steps.training_run",
)  # fmt: skip
STEP = [sys.executable, "-P", "-m", "agar_pipeline.steps"]
"""How the process of a step with one rank begins, before the path of its request."""


def call_agar(
    arguments: tuple[str, ...], env: dict[str, str], cwd: Path, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of the command, with text output captured."""
    words = [str(BIN / "agar"), *arguments]
    if _fixed(env) != AT_START:
        return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s)
    with tempfile.TemporaryDirectory(prefix="call-") as name:
        streams = [Path(name) / stream for stream in ("stdout", "stderr")]
        with Forked(_server(), words, env, cwd, streams) as process:
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(words, code, *(stream.read_text() for stream in streams))


class Forked:
    """A process that is forked from the server; the part of `subprocess.Popen` that `launch` uses."""

    def __init__(self, server: str, words: list[str], env: dict[str, str], cwd: Path, streams: list[Path]) -> None:
        self.args = words
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # one message is received at a time
        self._connection.connect(server)
        request = {"words": words, "env": env, "cwd": str(cwd), "streams": [str(path) for path in streams]}
        self._connection.sendall(json.dumps(request).encode())
        self.pid = int(self._connection.recv(100))

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._connection.recv(100))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _fixed(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(FREE)}


AT_START = _fixed(dict(os.environ))
STEPS_AT_START = _fixed(child_environment() | CHILD_ENV)


@functools.cache
def _server() -> str:
    """Start the process that is forked from; it ends when this one does."""
    folder = tempfile.mkdtemp(prefix="warm-")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address := f"{folder}/socket")
    listener.listen()
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(listener.fileno())],
        env=AT_START | CHILD_ENV, cwd=Path(__file__).parent.parent, pass_fds=[listener.fileno()],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    listener.close()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.wait)
    atexit.register(process.kill)
    return address


def serve(listener: socket.socket) -> Callable[[], Any]:
    """Answer each call by a process of its own, in which this function returns what is to be run.

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
                request = json.loads(connection.recv(1 << 20))
                pid = os.fork()
                if pid == 0:
                    address = listener.getsockname()
                    listener.close()
                    connection.close()
                    return _become(address, **request)
                connection.sendall(str(pid).encode())
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def _tell_exit_code(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, connection = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError), connection:  # who waited for it may have given up
        connection.sendall(str(code).encode())


def _become(server: str, words: list[str], env: dict[str, str], cwd: str, streams: list[str]) -> Callable[[], Any]:
    """Take over the environment and the streams of a call.

    Args:
        server: Address of the server.
        streams: Files for standard output and errors; of a step, whose errors are part of its output, one file.
    """
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, stream in ((1, streams[0]), (2, streams[-1])):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if words[: len(STEP)] == STEP:
        os.setsid()
        os.environ[PARENT_PID] = str(os.getppid())  # the server, which the tests end
        sys.argv = words[len(STEP) - 1 :]
        del sys.path[0]
        return functools.partial(runpy.run_module, STEP[-1], run_name="__main__", alter_sys=True)
    sys.argv, sys.path[0] = words, str(BIN)
    vars(launch)["subprocess"] = SimpleNamespace(**vars(subprocess) | {"Popen": functools.partial(_start, server)})
    from agar_pipeline.commands import main

    return main


def _start(server: str, command: list[str], **options: Any) -> Any:
    """Start a child of a command: a step is forked, all else started as usual."""
    env = options["env"]
    if command[:-1] != STEP or _fixed(env) != STEPS_AT_START:
        return subprocess.Popen(command, **options)
    return Forked(server, command, env, Path.cwd(), [Path(options["stdout"].name)])


def run_to_the_end(command: Callable[[], Any]) -> None:
    """Run this, and end as Python does, apart from taking the modules down: that copies all their memory."""
    code = 0
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - shown as Python shows it
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    run_to_the_end(serve(socket.socket(fileno=int(sys.argv[1]))))
