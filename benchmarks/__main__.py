"""Run the benchmarks named on the command line, or all, and print a table of the ratios with their aims.

Each benchmark is a process of its own, so that one that fails does not end the others. The exit code is 1 if a
benchmark failed, or a ratio is below its aim.

Some benchmarks take up to an hour. A run of all shortens these with `SHORTER`; a benchmark that is named runs in full.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._timing import RATIOS_FILE

CHECKOUT = Path(__file__).resolve().parent.parent
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
ONE = "--one"
SHORTER = {
    "ACTIVE_CHOICE_DATA": "generated",
    "LABEL_CORRECTION_DATA": "generated",
    "MEMORY_TIMES": "1,10",
    "OVERFIT": "tiny dfine",
    "RECIPE_VARIANTS": "defaults no_copy_paste",
}
"""Variables that a run of all benchmarks sets, so that it takes about half an hour. A variable that is already set is
kept."""


def main(names: list[str]) -> None:
    chosen = [module for module in MODULES if not names or any(module in name or name in module for name in names)]
    if not chosen:
        sys.exit(f"no benchmark {names[0]!r}; there are: {', '.join(MODULES)}")
    rows, missed = [], False
    settings = {} if names else SHORTER | {name: os.environ[name] for name in SHORTER if name in os.environ}
    for module in chosen:
        print(f"# {module}", flush=True)
        ended, ratios = _run(module, settings)
        missed |= ended != 0
        for ratio in ratios:
            reached = ratio["ratio"] is not None and ratio["ratio"] >= ratio["aim"]
            missed |= not reached
            shown = "not measured" if ratio["ratio"] is None else f"{ratio['ratio']:.2f}"
            rows.append((ratio["name"], shown, f"{ratio['aim']:g}", "" if reached else "below its aim"))
        if ended:
            rows.append((module, "", "", f"failed with exit code {ended}"))
    print(f"\n{_machine()}")
    if settings:
        print(f"with {', '.join(f'{name}={value!r}' for name, value in settings.items())}; in full: make bench NAME=…")
    print()
    widths = [max(map(len, column)) for column in zip(("ratio", "value", "aim", ""), *rows, strict=True)]
    for row in (("ratio", "value", "aim", ""), *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.exit(missed)


def _run(module: str, settings: dict[str, str]) -> tuple[int, list[dict[str, Any]]]:
    """Exit code of a benchmark that runs with these variables, and the ratios that it reported."""
    with tempfile.NamedTemporaryFile("r") as ratios:
        env = os.environ | settings | {RATIOS_FILE: ratios.name}
        env["PYTHONPATH"] = str(CHECKOUT)  # children have no current folder
        ended = subprocess.run([sys.executable, "-m", "benchmarks", ONE, module], env=env, check=False).returncode
        return ended, [json.loads(line) for line in ratios]


def _machine() -> str:
    """Name the machine, and how busy it is: most ratios suffer from other load."""
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        found = (line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line)
        model = next(found, model)
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    if sys.argv[1:2] == [ONE]:
        importlib.import_module(f"benchmarks.{sys.argv[2]}").main()
    else:
        main(sys.argv[1:])
