"""Results of runs that take minutes each, kept in a file, so that a benchmark that was stopped can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

RESULTS = "BENCH_RESULTS"
"""Environment variable: a file to which each finished run adds a line of JSON."""
Result = TypeVar("Result")


def kept(run: str, compute: Callable[[], Result]) -> Result:
    """The result of a run, from the file if it is there under this name; else it is computed, and added to the file."""
    file = Path(os.environ.get(RESULTS, os.devnull))
    lines = file.read_text().splitlines() if file.is_file() else []
    known = {plain["run"]: plain["result"] for plain in map(json.loads, lines)}
    if run in known:
        result: Result = known[run]
        return result
    result = compute()
    with file.open("a") as stream:
        stream.write(json.dumps({"run": run, "result": result}) + "\n")
    return result
