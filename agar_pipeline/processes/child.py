"""A child's side of the process boundary: a request is read from a folder, what comes of it is left there.

Here: answering, also as one rank of several, and dying with the parent. Not here: starting a child (`launch`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agar_pipeline.errors import INTERRUPTED, MissingPackageError, PipelineError
from agar_pipeline.files.storage_errors import find_os_error, path_at_fault
from agar_pipeline.processes.exit_reasons import RANKS_FILE
from agar_pipeline.processes.garbage_collection import start_importing
from agar_pipeline.processes.library_warnings import keep_warnings_harmless
from agar_pipeline.processes.world import World

Log = Callable[[str], None]

PARENT_PID = "AGAR_PARENT_PID"
CHILD_ENV = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""PASSIVE: a thread that waits for another yields its core; spinning made a step eight times as long on a busy one."""
MESSAGES_FILE, REPLY_FILE = "messages", "reply.json"
"""In a request's folder: lines of the log as JSON, and what the handler returned."""
ERROR_FILE = "error.json"
"""Why a child gave up, in words for the user."""
RESERVE_FILE = "reserve"
"""Room for a child's last words on a full disk."""
_PR_SET_PDEATHSIG = 1


def child_main(handler: Callable[[dict[str, Any], Log], dict[str, Any]]) -> None:
    """The main program of a child: read the request, run the handler, leave a reply or an error behind."""
    die_with_parent()
    start_importing()
    keep_warnings_harmless()
    answer_request(handler, Path(sys.argv[1]))


def answer_request(handler: Callable[[dict[str, Any], Log], dict[str, Any]], path: Path) -> None:
    """Every rank of several comes here; only rank 0 logs and replies, every rank may report an error.

    Raises:
        SystemExit: the handler failed; what it failed with is left behind for the parent, if a user can mend it.
    """
    folder, first = path.parent, World.from_environment().is_first
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
        sys.exit(INTERRUPTED)
    except Exception as error:
        found = find_os_error(error)
        if found is None:
            raise
        fault = path_at_fault(found)
        place = None if fault is None else str(fault)
        _report(folder, {"errno": found.errno, "message": found.strerror, "path": place})
        sys.exit(1)
    if first:
        _write_once(folder / REPLY_FILE, reply)


def message_log(folder: Path) -> Log:
    """Lines for the parent, who looks for them in the request's folder."""

    def log(text: str) -> None:
        with (folder / MESSAGES_FILE).open("a") as stream:
            stream.write(json.dumps(text) + "\n")

    return log


def _report(folder: Path, plain: dict[str, Any]) -> None:
    """Leave the error that is being handled behind for the parent, even on a full disk."""
    (folder / RESERVE_FILE).unlink(missing_ok=True)
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
    """`python -m agar_pipeline.processes.child MODULE …`: a program that is not ours, but dies with its parent.

    torchrun says how each rank ended; that is left behind for the parent.
    """
    die_with_parent()
    start_importing()
    keep_warnings_harmless()
    os.environ[PARENT_PID] = str(os.getpid())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
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
