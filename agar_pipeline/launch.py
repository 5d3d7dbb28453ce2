"""The process boundary: FiftyOne and torch run in children that die with us and cannot publish anything.

A parent composes plain JSON, a child (`python -m MODULE REQUEST.json`, or as many as there are ranks, by torchrun)
reads only that, and answers with JSON. Here: starting, listening, stopping. Not here: what a child does.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agar_pipeline import errors
from agar_pipeline.config import agar_home
from agar_pipeline.disk import clear_storage_errors, find_os_error, path_at_fault, scratch_folder, storage_error
from agar_pipeline.errors import ComputeError, MissingPackageError, PipelineError, StoppedError
from agar_pipeline.exit_codes import RANKS_FILE, explain_end, last_line

Log = Callable[[str], None]

STOP_S = 25.0
"""Seconds between the polite and the rude signal: a step ends, and a point to go on from is written."""
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
PARENT_PID = "AGAR_PARENT_PID"
CHILD_ENV = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""PASSIVE: a thread that waits for another yields its core; spinning made a step eight times as long on a busy one."""
ERROR_FILE = "error.json"
"""In a request's folder: why a child gave up, in words for the user."""
_RESERVE_BYTES = 16_384
"""Room for a child's last words on a full disk."""


def run_child(
    module: str,
    request: dict[str, Any],
    log: Log,
    *,
    ranks: int = 1,
    torchrun_args: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run `python -m module` in a session of its own and return what its handler returned.

    Args:
        module: Runs `child_main(handler)` as its main program.
        request: JSON-ready; handed to the handler.
        log: Called with each line that the child logs, as it comes.
        ranks: Processes on this node; more than one are started by torchrun.
        torchrun_args: Rendezvous options for torchrun; `--standalone` where there are none.
        env: Added to this process's environment.

    Raises:
        PipelineError: whatever the child raised of that family.
        StorageError: the home, or a file that the child needs, cannot be read or written.
        ComputeError: the child died otherwise; the message names the exit code and where its output is.
    """
    with clear_storage_errors(agar_home()), scratch_folder(agar_home(), "child-") as folder:
        (folder / "request.json").write_text(json.dumps(request))
        (folder / "reserve").write_bytes(bytes(_RESERVE_BYTES))
        (folder / "messages").touch()
        command = [sys.executable, "-m"]
        if ranks > 1 or torchrun_args:
            command += ["agar_pipeline.launch", "torch.distributed.run", *(torchrun_args or ("--standalone",))]
            command += [f"--nproc-per-node={ranks}", "-m"]
        command += [module, str(folder / "request.json")]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **CHILD_ENV, PARENT_PID: str(os.getpid()), **(env or {})},
            )
        messages = _Messages(folder / "messages", log)
        try:
            with _ended_with_us(process):
                messages.follow(process)
        except BaseException:
            messages.tell()
            if (stopped := _read_error(folder)).get("type") == StoppedError.__name__:
                log(stopped["message"])
            raise
        return _answer(module, process.returncode, folder)


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever ends the block early (Ctrl-C, SIGTERM, a terminated run) ends the child and its group first."""
    before = _interrupted_by_sigterm()
    try:
        yield
    finally:
        if process.poll() is None:
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
            self._log(json.loads(line))


def _read_error(folder: Path) -> dict[str, Any]:
    path = folder / ERROR_FILE
    return json.loads(path.read_text()) if path.exists() else {}


def _answer(module: str, returncode: int, folder: Path) -> dict[str, Any]:
    if plain := _read_error(folder):
        if "errno" in plain:
            cause = OSError(plain["errno"], plain["message"], plain["path"])
            raise storage_error(cause, agar_home()) from cause
        raise getattr(errors, plain["type"], PipelineError)(plain["message"])
    reply = folder / "reply.json"
    if returncode == 0 and reply.exists():
        return json.loads(reply.read_text())
    kept = agar_home() / "logs" / f"{module}-{os.getpid()}-{time.time_ns()}.log"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "output", kept)
    raise ComputeError(f"{explain_end(module, returncode, folder)}\nits output is in {kept}{last_line(kept)}")


def child_main(handler: Callable[[dict[str, Any], Log], dict[str, Any]]) -> None:
    """The main program of a child: read the request, run the handler, leave a reply or an error behind."""
    die_with_parent()
    answer_request(handler, Path(sys.argv[1]))


def answer_request(handler: Callable[[dict[str, Any], Log], dict[str, Any]], path: Path) -> None:
    """Every rank of several comes here; only rank 0 logs and replies, every rank may report an error.

    Raises:
        SystemExit: the handler failed; what it failed with is left behind for the parent, if a user can mend it.
    """
    folder, first = path.parent, os.environ.get("RANK", "0") == "0"
    try:
        reply = handler(json.loads(path.read_text()), message_log(folder) if first else lambda text: None)
    except PipelineError as error:
        _report(folder, {"type": type(error).__name__, "message": str(error)})
        sys.exit(1)
    except ModuleNotFoundError as error:
        missing = MissingPackageError.of(error)
        _report(folder, {"type": type(missing).__name__, "message": str(missing)})
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        found = find_os_error(error)
        if found is None:
            raise
        fault = path_at_fault(found)
        place = None if fault is None else str(fault)
        _report(folder, {"errno": found.errno, "message": found.strerror, "path": place})
        sys.exit(1)
    if first:
        _write_once(folder / "reply.json", reply)


def child_env() -> dict[str, str]:
    """What a worker that somebody else starts needs of this process's environment."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("AGAR_") and name != PARENT_PID}
    return {**ours, **CHILD_ENV, "AGAR_HOME": str(agar_home())}


def message_log(folder: Path) -> Log:
    """Lines for the parent, who looks for them in the request's folder."""

    def log(text: str) -> None:
        with (folder / "messages").open("a") as stream:
            stream.write(json.dumps(text) + "\n")

    return log


def _report(folder: Path, plain: dict[str, Any]) -> None:
    """Leave the error that is being handled behind for the parent, even on a full disk."""
    (folder / "reserve").unlink(missing_ok=True)
    traceback.print_exc()
    _write_once(folder / ERROR_FILE, plain)


def _write_once(path: Path, plain: dict[str, Any]) -> None:
    """Whole or not at all; the first of several ranks wins."""
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(plain))
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux); elsewhere nothing is done."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.environ.get(PARENT_PID)
    if parent is not None and os.getppid() != int(parent):  # it died before we asked
        sys.exit("the parent process is gone")


def main() -> None:
    """`python -m agar_pipeline.launch MODULE …`: a program that is not ours, but dies with its parent all the same.

    torchrun says how each rank ended; that is left behind for the parent.
    """
    die_with_parent()
    os.environ[PARENT_PID] = str(os.getpid())
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except Exception as error:
        failures = getattr(error, "failures", None)  # of torch's ChildFailedError
        if failures is None:
            raise
        codes = {rank: failed.exitcode for rank, failed in failures.items()}
        _write_once(Path(sys.argv[-1]).parent / RANKS_FILE, codes)
        sys.exit(1)


if __name__ == "__main__":
    main()
