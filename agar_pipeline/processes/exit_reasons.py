"""Describes how a process ended: which rank, which signal, its known causes, and the next step."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from agar_pipeline.errors import ComputeError

RANKS_FILE = "ranks.json"
"""File with rank → exit code, which is written when torchrun fails."""
_CAUSES: dict[int, str] = {
    signal.SIGSEGV: "a segmentation fault, most often because of boxes that are not finite, a damaged photo, "
    "or a torchvision for another version of torch",
    signal.SIGKILL: "it was killed from outside, most often because memory ran out",
    signal.SIGTERM: "somebody asked it to stop",
    signal.SIGBUS: "a bus error, most often because /dev/shm or the disk is full",
    signal.SIGABRT: "a library aborted it, which its last lines of output name",
    signal.SIGALRM: "it was asked to stop, and did not stop in time",
}
_STEPS: dict[int, str] = {
    signal.SIGSEGV: "run `agar verify`, look at the bbox report, ",
    signal.SIGKILL: "lower data.batch_size or data.input_size, ",
    signal.SIGTERM: "run the same command again, which continues, ",
    signal.SIGBUS: "run `agar launch-check`, ",
    signal.SIGALRM: "run the same command again, which continues, ",
}


def explain_end(module: str, returncode: int, folder: Path, output: Path) -> ComputeError:
    """Return an error that says which process ended, how, and where its output is.

    Of several ranks it names one that a signal other than SIGTERM ended, because the others fail or are stopped after
    it.
    """
    path = folder / RANKS_FILE
    if not path.exists():
        return ComputeError(
            f"ended with {_explain_exit(returncode)}{_last_line(output)}",
            where=module,
            next_step=f"{_STEPS.get(_signal_of(returncode), '')}read its output in {output}",
        )
    codes = {int(rank): int(code) for rank, code in json.loads(path.read_text()).items()}
    rank = min(codes, key=lambda rank: (codes[rank] >= 0 or codes[rank] == -signal.SIGTERM, rank))
    return ComputeError(
        f"ended with {_explain_exit(codes[rank])}; all other ranks were stopped{_last_line(output)}",
        where=f"rank {rank}",
        next_step=f"{_STEPS.get(_signal_of(codes[rank]), '')}read its output in {output}",
    )


def _explain_exit(returncode: int) -> str:
    """Describe an exit code or the signal behind it, with its known causes: `exit code -11 (SIGSEGV), …`."""
    number = _signal_of(returncode)
    if returncode >= 0:
        return f"exit code {returncode}"
    if not isinstance(number, signal.Signals):
        return f"signal {number}"
    return f"exit code {returncode} ({number.name}), {_CAUSES.get(number, 'the cause is not known')}"


def _signal_of(returncode: int) -> int:
    return signal.Signals(-returncode) if -returncode in set(signal.Signals) else -returncode


def _last_line(output: Path) -> str:
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return f"; the last line of its output is: {lines[-1].strip()[:300]}" if lines else ""
