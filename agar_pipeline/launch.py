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
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agar_pipeline import errors
from agar_pipeline.config import agar_home
from agar_pipeline.disk import clear_storage_errors, find_os_error, scratch_folder, storage_error
from agar_pipeline.errors import ComputeError, PipelineError

Log = Callable[[str], None]

STOP_S = 20.0
"""Seconds between the polite and the rude signal."""
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
_CHILD_ENV = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""PASSIVE: a thread that waits for another yields its core; spinning made a step eight times as long on a busy one."""
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
                env={**os.environ, **_CHILD_ENV, "AGAR_PARENT_PID": str(os.getpid()), **(env or {})},
            )
        with _ended_with_us(process):
            _listen(process, folder / "messages", log)
        return _answer(module, process.returncode, folder)


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever ends the block early (Ctrl-C, a terminated run) ends the child and all of its group first."""
    try:
        yield
    finally:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                _signal_group(process, signal.SIGKILL)
                process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _listen(process: subprocess.Popen[bytes], messages: Path, log: Log) -> None:
    with messages.open() as stream:
        rest = ""
        while True:
            ended = process.poll() is not None
            rest += stream.read()
            *lines, rest = rest.split("\n")
            for line in lines:
                log(json.loads(line))
            if ended:
                return
            time.sleep(_POLL_S)


def _answer(module: str, returncode: int, folder: Path) -> dict[str, Any]:
    error = folder / "error.json"
    if error.exists():
        plain = json.loads(error.read_text())
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
    raise ComputeError(f"{module} ended with {_explain_exit(returncode)}\nits output is in {kept}{_last_line(kept)}")


def _explain_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    name = signal.Signals(-returncode).name
    causes = {
        signal.SIGSEGV: "a library crashed: known causes are boxes that are not finite, run the bbox report",
        signal.SIGKILL: "killed from outside: most often out of memory, try a smaller data.batch_size or input_size",
        signal.SIGTERM: "somebody asked it to stop",
    }
    return f"signal {name} ({returncode}); {causes.get(signal.Signals(-returncode), 'no known cause')}"


def _last_line(output: Path) -> str:
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""


def child_main(handler: Callable[[dict[str, Any], Log], dict[str, Any]]) -> None:
    """The main program of a child: read the request, run the handler, leave a reply or an error behind.

    Under torchrun every rank comes here; only rank 0 logs and replies, every rank may report an error.
    """
    die_with_parent()
    request_path = Path(sys.argv[1])
    folder = request_path.parent
    first = os.environ.get("RANK", "0") == "0"

    def log(text: str) -> None:
        if first:
            with (folder / "messages").open("a") as stream:
                stream.write(json.dumps(text) + "\n")

    try:
        reply = handler(json.loads(request_path.read_text()), log)
    except PipelineError as error:
        _report(folder, {"type": type(error).__name__, "message": str(error)})
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        found = find_os_error(error)
        if found is None:
            raise
        path = None if found.filename is None else str(found.filename)
        _report(folder, {"errno": found.errno, "message": found.strerror, "path": path})
        sys.exit(1)
    if first:
        _write_once(folder / "reply.json", reply)


def _report(folder: Path, plain: dict[str, Any]) -> None:
    """Leave the error that is being handled behind for the parent, even on a full disk."""
    (folder / "reserve").unlink(missing_ok=True)
    traceback.print_exc()
    _write_once(folder / "error.json", plain)


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
    parent = os.environ.get("AGAR_PARENT_PID")
    if parent is not None and os.getppid() != int(parent):  # it died before we asked
        sys.exit("the parent process is gone")


def main() -> None:
    """`python -m agar_pipeline.launch MODULE …`: a program that is not ours, but dies with its parent all the same."""
    die_with_parent()
    os.environ["AGAR_PARENT_PID"] = str(os.getpid())
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
