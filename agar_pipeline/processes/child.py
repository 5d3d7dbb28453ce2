"""The child's side of the process boundary: it reads a request from a folder and writes its answer there.

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
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log

PARENT_PID = "AGAR_PARENT_PID"
CHILD_ENV = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""PASSIVE: a waiting thread yields its core. With spinning, a step on a busy core took eight times as long."""
MESSAGES_FILE, REPLY_FILE = "messages", "reply.json"
"""Files in the folder of the request: log lines as JSON, and the result of the handler."""
ERROR_FILE = "error.json"
"""File with the error of a child, in words for the user."""
RESERVE_FILE = "reserve"
"""A file that a child deletes on a full disk, so that it can write its error message."""
_PR_SET_PDEATHSIG = 1


def child_main(handler: Callable[[dict[str, Any], Log], dict[str, Any]]) -> None:
    """Run a child's main program: read the request, run the handler, and write a reply or an error."""
    die_with_parent()
    start_importing()
    keep_warnings_harmless()
    answer_request(handler, Path(sys.argv[1]))


def answer_request(handler: Callable[[dict[str, Any], Log], dict[str, Any]], path: Path) -> None:
    """Run the handler for a request. Only rank 0 logs and replies; every rank may report an error.

    Raises:
        SystemExit: the handler failed. If the user can fix it, the error is written for the parent.
    """
    folder, first = path.parent, World.from_environment().is_first
    try:
        reply = handler(json.loads(path.read_text()), message_log(folder) if first else lambda text: None)
    except PipelineError as error:
        _report(folder, error.fields)
        sys.exit(1)
    except ModuleNotFoundError as error:
        _report(folder, MissingPackageError.of(error).fields)
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
    """Return a function that writes log lines into the folder of the request, where the parent reads them."""

    def log(text: str) -> None:
        with (folder / MESSAGES_FILE).open("a") as stream:
            stream.write(json.dumps(text) + "\n")

    return log


def _report(folder: Path, plain: dict[str, Any]) -> None:
    """Write the current error for the parent, even on a full disk."""
    (folder / RESERVE_FILE).unlink(missing_ok=True)
    traceback.print_exc()
    _write_once(folder / ERROR_FILE, plain)


def _write_once(path: Path, plain: dict[str, Any]) -> None:
    """Write a file atomically; of several ranks, the first one writes it."""
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(plain))
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies. Only Linux can do this."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.environ.get(PARENT_PID)
    if parent is not None and os.getppid() != int(parent):  # the parent died before the request to the kernel
        sys.exit("the parent process is gone")


def main() -> None:
    """Run `python -m agar_pipeline.processes.child MODULE …`: a program that is not ours, but ends with its parent.

    If the program is torchrun, the exit codes of the ranks are written for the parent.
    """
    die_with_parent()
    start_importing()
    keep_warnings_harmless()
    os.environ[PARENT_PID] = str(os.getpid())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores SIGINT for a command with `&`
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except Exception as error:
        failures = getattr(error, "failures", None)  # only torch's ChildFailedError has it
        if failures is None:
            raise
        codes = {rank: failed.exitcode for rank, failed in failures.items()}
        _write_once(Path(sys.argv[-1]).parent / RANKS_FILE, codes)
        sys.exit(1)


if __name__ == "__main__":
    main()
