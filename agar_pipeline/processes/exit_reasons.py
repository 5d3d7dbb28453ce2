"""Describes how a process ended: which rank, which signal, its known causes, and the next step."""

from __future__ import annotations

import json
import signal
from pathlib import Path

RANKS_FILE = "ranks.json"
"""File with rank → exit code, which is written when torchrun fails."""
_CAUSES = {
    signal.SIGSEGV: "segmentation fault: run `agar verify` and look at the bbox report; known causes are boxes that "
    "are not finite, a damaged photo, a torchvision of another torch",
    signal.SIGKILL: "killed from outside: most often out of memory, try a smaller data.batch_size or input_size",
    signal.SIGTERM: "somebody asked it to stop",
    signal.SIGBUS: "bus error: most often /dev/shm or the disk is full, see `agar launch-check`",
    signal.SIGABRT: "aborted: a library gave up, the last lines of its output say which",
    signal.SIGALRM: "it was asked to stop, and did not within its time",
}


def explain_end(module: str, returncode: int, folder: Path) -> str:
    """Describe which process ended, and how.

    Of several ranks it names one that a signal other than SIGTERM ended, because the others fail or are stopped after
    it.
    """
    path = folder / RANKS_FILE
    if not path.exists():
        return f"{module} ended with {explain_exit(returncode)}"
    codes = {int(rank): int(code) for rank, code in json.loads(path.read_text()).items()}
    rank = min(codes, key=lambda rank: (codes[rank] >= 0 or codes[rank] == -signal.SIGTERM, rank))
    return f"rank {rank} ended with {explain_exit(codes[rank])}; all other ranks were stopped"


def explain_exit(returncode: int) -> str:
    """Describe an exit code or the signal behind it, with its known causes: `exit code -11 (SIGSEGV), …`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        number = signal.Signals(-returncode)
    except ValueError:
        return f"signal {-returncode}"
    return f"exit code {returncode} ({number.name}), {_CAUSES.get(number, 'no known cause')}"


def last_line(output: Path) -> str:
    """Return `: …` with the last line of a process's output; empty if there is no output."""
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""
