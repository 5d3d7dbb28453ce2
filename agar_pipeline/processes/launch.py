"""Runs FiftyOne and torch in child processes, which end with the parent and cannot publish artifacts.

The parent writes a request as plain JSON. The child (`python -m MODULE REQUEST.json`, or one process per rank started
by torchrun) reads only that and answers with JSON. Here: starting, listening, stopping. Not here: the child's side
(`child`).
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
from agar_pipeline.errors import StoppedError
from agar_pipeline.files.storage_errors import clear_storage_errors, storage_error
from agar_pipeline.ownership.scratch_folders import scratch_folder
from agar_pipeline.processes.child import CHILD_ENV, ERROR_FILE, MESSAGES_FILE, PARENT_PID, REPLY_FILE, RESERVE_FILE
from agar_pipeline.processes.environment import child_environment
from agar_pipeline.processes.exit_reasons import explain_end
from agar_pipeline.progress import Log
from agar_pipeline.text.safe_text import printable
from agar_pipeline.text.secrets import mask

STOP_S = 25.0
"""Seconds between SIGTERM and SIGKILL, enough to finish a step and write a checkpoint to resume from."""
_POLL_S = 0.05
_RESERVE_BYTES = 16_384
"""Bytes in a file that a child deletes on a full disk, so that it can write its error message."""


def run_child(
    module: str,
    request: dict[str, Any],
    log: Log,
    *,
    ranks: int = 1,
    env: dict[str, str] | None = None,
    needs: Iterable[str] = (),
) -> dict[str, Any]:
    """Run `python -m module` in its own session and return the result of its handler.

    Args:
        module: Its main program calls `child_main(handler)`.
        request: JSON-ready; passed to the handler.
        log: Called with each line that the child logs, as soon as it is logged.
        ranks: Number of processes; more than one are started by torchrun.
        env: Added to the variables of this process that children get.
        needs: Names of variables with passwords or keys that this child uses.

    Raises:
        PipelineError: an error of this family that the child raised.
        StorageError: the home, or a file that the child needs, cannot be read or written.
        ComputeError: the child died otherwise; the message names the exit code and the file with its output.
    """
    with clear_storage_errors(agar_home()), scratch_folder(agar_home(), "child-") as folder:
        (folder / "request.json").write_text(json.dumps(request))
        (folder / RESERVE_FILE).write_bytes(bytes(_RESERVE_BYTES))
        (folder / MESSAGES_FILE).touch()
        command = [sys.executable, "-P", "-m"]  # -P: nothing is imported from the current folder
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
        with contextlib.closing(_Messages(folder / MESSAGES_FILE, log)) as messages:
            try:
                with _ended_with_us(process):
                    messages.follow(process)
            except BaseException:
                messages.tell()
                if (stopped := _read_error(folder)).get("type") == StoppedError.__name__:
                    log(errors.from_fields(stopped).in_one_line)
                raise
        return _answer(module, process.returncode, folder)


def _own_variables(folder: Path, ranks: int) -> dict[str, str]:
    own = {**CHILD_ENV, PARENT_PID: str(os.getpid())}
    if ranks > 1:  # for the processes that torchrun starts: nothing is imported from the current folder
        own["PYTHONSAFEPATH"] = "1"
    if not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117 - libraries need a home folder
        own["HOME"] = str(folder)
    return own


Companion = subprocess.Popen[bytes]


@contextlib.contextmanager
def companion(
    module: str, arguments: list[str], output: Path, env: dict[str, str] | None = None
) -> Iterator[Companion]:
    """Run `python -m module ARGUMENTS` during the block.

    The program, which is not ours, ends with the block and with us.

    Args:
        module: Run by `agar_pipeline.processes.child`, so that it ends even if this process is killed.
        arguments: Every user of the machine can read them.
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
    """End the child and its process group if the block ends early (by Ctrl-C, SIGTERM or a terminated run).

    With `its_group` all processes of the group get a Ctrl-C, as from a terminal. This is for programs that do not pass
    it on.
    """
    before = _interrupted_by_sigterm()
    try:
        yield
    finally:
        if process.poll() is None:
            if its_group:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()  # a child passes it on: torchrun to its ranks, a driver to Ray's workers
            try:
                process.wait(STOP_S)
            except BaseException:  # noqa: BLE001 - time is over, or a second Ctrl-C; its class is Dagster's
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _interrupted_by_sigterm() -> Any:
    """Let SIGTERM end this process as Ctrl-C does, unless another handler is set (by Dagster).

    Returns:
        The previous handler; None if nothing was changed.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return None

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)


class _Messages:
    def __init__(self, path: Path, log: Log) -> None:
        self._stream, self._log, self._rest = path.open(), log, ""

    def close(self) -> None:
        self._stream.close()

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            self.tell()
            time.sleep(_POLL_S)
        self.tell()

    def tell(self) -> None:
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
        raise errors.from_fields(plain)
    reply = folder / REPLY_FILE
    if returncode == 0 and reply.exists():
        return json.loads(reply.read_text())
    kept = agar_home() / "logs" / f"{module}-{os.getpid()}-{time.time_ns()}.log"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(mask((folder / "output").read_text(errors="replace")))
    raise explain_end(module, returncode, folder, kept)
