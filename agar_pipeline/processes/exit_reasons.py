"""How a process ended, in words: which rank, which signal, what is known to cause it, the next step."""

from __future__ import annotations

import json
import signal
from pathlib import Path

RANKS_FILE = "ranks.json"
"""Rank → exit code, left behind by torchrun."""
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
    """Who ended, and how: of several ranks the one that a signal ended, rather than those which lost it."""
    path = folder / RANKS_FILE
    if not path.exists():
        return f"{module} ended with {explain_exit(returncode)}"
    codes = {int(rank): int(code) for rank, code in json.loads(path.read_text()).items()}
    rank = min(codes, key=lambda rank: (codes[rank] >= 0 or codes[rank] == -signal.SIGTERM, rank))
    return f"rank {rank} ended with {explain_exit(codes[rank])}; all other ranks were stopped"


def explain_exit(returncode: int) -> str:
    """`−11, SIGSEGV: …`"""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        number = signal.Signals(-returncode)
    except ValueError:
        return f"signal {-returncode}"
    return f"exit code {returncode} ({number.name}), {_CAUSES.get(number, 'no known cause')}"


def last_line(output: Path) -> str:
    """`: …`, what the process said last."""
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""
