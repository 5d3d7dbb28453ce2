"""How a case is judged: as described is the whole weight, loud but unclear is half, a silent wrong answer costs it."""

from __future__ import annotations

import re
import subprocess

MOST_LINES = 3
"""Of an error on the terminal."""


class Unclear(AssertionError):
    """It failed, as it should, but its words do not help: half the weight."""


class SilentlyWrong(AssertionError):
    """It ended well, with a wrong answer: the weight is lost, and as much again."""


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """Hold a command to having failed with `code`, in three lines at most that hold each of `words`."""
    if done.returncode == 0:
        raise SilentlyWrong(f"ended well:\n{done.stdout[-1500:]}")
    told = done.stderr[done.stderr.rfind("error: ") :] if "error: " in done.stderr else done.stderr
    missing = [word for word in words if word not in told]
    lines = [line for line in told.splitlines() if line.strip()]
    if missing or done.returncode != code or "Traceback" in done.stderr or len(lines) > MOST_LINES:
        raise Unclear(f"exit code {done.returncode}, without {missing}:\n{done.stderr[-2500:]}")


def right(is_so: object, what: str) -> None:
    """Hold an answer that was given to being right."""
    if not is_so:
        raise SilentlyWrong(what)


def case_of(name: str) -> int | None:
    """The number of the case that a test of this name is for."""
    found = re.match(r"test_case_(\d\d)_", name)
    return int(found[1]) if found else None
