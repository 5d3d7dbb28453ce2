"""Taking turns, medians, and the ratio that is printed and kept for the table of all benchmarks."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable

RATIOS_FILE = "BENCHMARK_RATIOS"
"""Environment variable: a file to which each ratio is added as a line of JSON."""


def by_turns(
    rounds: int, *, clock: Callable[[], float] = time.perf_counter, **contenders: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of each contender, called in turn `rounds` times after one warm-up each.

    `clock`: `time.process_time` for work of one thread, which a busy machine then cannot slow down.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, call in contenders.items():
            started = clock()
            call()
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def print_ratio(name: str, alternative: list[float], ours: list[float], aim: float) -> None:
    """How many times better than the alternative we are: its median time over ours."""
    theirs_s, ours_s = statistics.median(alternative), statistics.median(ours)
    print(f"{name}: alternative {theirs_s:.3f} s, ours {ours_s:.3f} s (medians of {len(ours)})")
    report_ratio(name, theirs_s / ours_s, aim)


def report_ratio(name: str, ratio: float | None, aim: float, remark: str = "") -> None:
    """Print a ratio with its aim, and keep it for the table; None if it could not be measured, with a remark why."""
    shown = "not measured" if ratio is None else f"{ratio:.2f}"
    print(f"ratio {name}: {shown} (aim {aim:g}){f', {remark}' if remark else ''}", flush=True)
    if path := os.environ.get(RATIOS_FILE):
        with open(path, "a") as stream:  # noqa: PTH123 - one line is added
            stream.write(json.dumps({"name": name, "ratio": ratio, "aim": aim}) + "\n")
