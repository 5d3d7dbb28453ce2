"""Taking turns, medians, and the one line that is printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


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
    print(f"ratio {name}: {theirs_s / ours_s:.2f} (aim {aim:g})", flush=True)
