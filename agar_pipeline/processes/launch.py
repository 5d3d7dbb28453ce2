"""The process boundary: FiftyOne and torch run in children that die with us and cannot publish anything.

A parent composes plain JSON, a child (`python -m MODULE REQUEST.json`, or as many as there are ranks, by torchrun)
reads only that, and answers with JSON. Here: starting, listening, stopping. Not here: the child's side (`child`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agar_pipeline import errors
from agar_pipeline.config import agar_home
from agar_pipeline.errors import ComputeError, PipelineError, StoppedError
from agar_pipeline.files.storage_errors import clear_storage_errors, storage_error
from agar_pipeline.ownership.home import scratch_folder
from agar_pipeline.processes.child import (
    CHILD_ENV,
    ERROR_FILE,
    MESSAGES_FILE,
    PARENT_PID,
    REPLY_FILE,
    RESERVE_FILE,
    Log,
)
from agar_pipeline.processes.environment import child_environment
from agar_pipeline.processes.exit_reasons import explain_end, last_line
from agar_pipeline.text.safe_text import printable
from agar_pipeline.text.secrets import mask

STOP_S = 25.0
"""Seconds between the polite and the rude signal: a step ends, and a point to go on from is written."""
_POLL_S = 0.05
_RESERVE_BYTES = 16_384
"""Room for a child's last words on a full disk."""


def run_child(
    module: str,
    request: dict[str, Any],
    log: Log,
    *,
    ranks: int = 1,
    env: dict[str, str] | None = None,
    needs: Iterable[str] = (),
) -> dict[str, Any]:
    """Run `python -m module` in a session of its own and return what its handler returned.

    Args:
        module: Runs `child_main(handler)` as its main program.
        request: JSON-ready; handed to the handler.
        log: Called with each line that the child logs, as it comes.
        ranks: Processes; more than one are started by torchrun.
        env: Added to what children get of this process's environment.
        needs: Names of variables that hold passwords or keys, and that this child uses.

    Raises:
        PipelineError: whatever the child raised of that family.
        StorageError: the home, or a file that the child needs, cannot be read or written.
        ComputeError: the child died otherwise; the message names the exit code and where its output is.
    """
    with clear_storage_errors(agar_home()), scratch_folder(agar_home(), "child-") as folder:
        (folder / "request.json").write_text(json.dumps(request))
        (folder / RESERVE_FILE).write_bytes(bytes(_RESERVE_BYTES))
        (folder / MESSAGES_FILE).touch()
        command = [sys.executable, "-P", "-m"]  # nothing is imported from the folder that we were called in
        if ranks > 1:
            command += ["agar_pipeline.processes.child", "torch.distributed.run"]
            command += ["--standalone", f"--nproc-per-node={ranks}", "-m"]
        command += [module, str(folder / "request.json")]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**child_environment(needs), **_own_variables(folder, ranks), **(env or {})},
            )
        messages = _Messages(folder / MESSAGES_FILE, log)
        try:
            with _ended_with_us(process):
                messages.follow(process)
        except BaseException:
            messages.tell()
            if (stopped := _read_error(folder)).get("type") == StoppedError.__name__:
                log(stopped["message"])
            raise
        return _answer(module, process.returncode, folder)


def _own_variables(folder: Path, ranks: int) -> dict[str, str]:
    own = {**CHILD_ENV, PARENT_PID: str(os.getpid())}
    if ranks > 1:  # for what torchrun starts: nothing is imported from the folder that we were called in
        own["PYTHONSAFEPATH"] = "1"
    if not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117 - a user without a folder: libraries want one
        own["HOME"] = str(folder)
    return own


Companion = subprocess.Popen[bytes]


@contextlib.contextmanager
def companion(
    module: str, arguments: list[str], output: Path, env: dict[str, str] | None = None
) -> Iterator[Companion]:
    """`python -m module ARGUMENTS` beside the block: a program that is not ours, ended with the block and with us.

    Args:
        module: Run by `agar_pipeline.processes.child`, so that not even our sudden end leaves it behind.
        arguments: Every user of the machine can read them.
        output: Receives what it writes.
        env: Added to this process's environment.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "agar_pipeline.processes.child", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, PARENT_PID: str(os.getpid()), **(env or {})},
        )
    with _ended_with_us(process, its_group=True):
        yield process


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[bytes], *, its_group: bool = False) -> Iterator[None]:
    """Whatever ends the block early (Ctrl-C, SIGTERM, a terminated run) ends the child and its group first.

    With `its_group` all of the group get a Ctrl-C, as from a terminal: for programs that do not pass it on.
    """
    before = _interrupted_by_sigterm()
    try:
        yield
    finally:
        if process.poll() is None:
            if its_group:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()  # who started others asks them: torchrun its ranks, a driver Ray's workers
            try:
                process.wait(STOP_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _interrupted_by_sigterm() -> Any:
    """Let SIGTERM end this process as Ctrl-C does, unless somebody (Dagster) handles it; returns the old handler."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return None

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)


class _Messages:
    """What the child logs, line by line, as it comes."""

    def __init__(self, path: Path, log: Log) -> None:
        self._stream, self._log, self._rest = path.open(), log, ""

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Until the process has ended."""
        while process.poll() is None:
            self.tell()
            time.sleep(_POLL_S)
        self.tell()

    def tell(self) -> None:
        """What has come since the last time."""
        *lines, self._rest = (self._rest + self._stream.read()).split("\n")
        for line in lines:
            self._log(printable(json.loads(line)))


def _read_error(folder: Path) -> dict[str, Any]:
    path = folder / ERROR_FILE
    return json.loads(path.read_text()) if path.exists() else {}


def _answer(module: str, returncode: int, folder: Path) -> dict[str, Any]:
    if plain := _read_error(folder):
        if "errno" in plain:
            cause = OSError(plain["errno"], plain["message"], plain["path"])
            raise storage_error(cause, agar_home()) from cause
        raise getattr(errors, plain["type"], PipelineError)(plain["message"])
    reply = folder / REPLY_FILE
    if returncode == 0 and reply.exists():
        return json.loads(reply.read_text())
    kept = agar_home() / "logs" / f"{module}-{os.getpid()}-{time.time_ns()}.log"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(mask((folder / "output").read_text(errors="replace")))
    raise ComputeError(f"{explain_end(module, returncode, folder)}\nits output is in {kept}{last_line(kept)}")
