"""The GPU suite and the benchmarks of the card in one call, as one Markdown file.

Example: `python -m benchmarks.gpu.report FILE`.

The file is written anew after each part, so that whatever ends the run leaves what was measured until then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]
CHECKOUT = Path(__file__).resolve().parents[2]
GIGABYTES_A_WORKER, CORES_A_WORKER, MOST_WORKERS = 14, 3, 5


def main() -> int:
    """0 where the suite passed and all benchmarks ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="receives the report")
    parser.add_argument("--only", nargs="*", default=["suite", "benchmarks"], help="parts of it")
    parser.add_argument("--limit-s", type=float, help="seconds after which a part is ended")
    parser.add_argument("--processes", type=int, help="of the suite; default: as the card and the cores bear")
    parser.add_argument("-k", default="", help="of the suite, only these tests; as pytest's -k")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, ends = Path(name), {}
        for part in asked.only:
            started_at = time.monotonic()
            command = [sys.executable, "-m", "benchmarks.gpu"]
            if part == "suite":
                command = suite(asked.k, asked.processes or count_workers())
            print(f"# {part}", flush=True)
            env = {**os.environ, "AGAR_GPU_RESULTS": str(folder)}
            try:
                code = subprocess.run(command, cwd=CHECKOUT, env=env, check=False, timeout=asked.limit_s).returncode
                end = "passed" if code == 0 else f"exit code {code}"
            except subprocess.TimeoutExpired:
                end = "not ended"
            ends[part] = f"{end} in {time.monotonic() - started_at:.0f} s"
            text = write(folder, ends)
            asked.file.write_text(text)
    print(text)
    return int(not all(end.startswith("passed") for end in ends.values()))


def suite(chosen: str, processes: int) -> list[str]:
    """pytest's command; each model's tests run in one process."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "-p", "no:cacheprovider", "--tb=short"]
    command += ["--durations=15", "-v", "-rs", "-k", chosen]
    return [*command, "--numprocesses", str(processes), "--dist", "loadgroup"]


def count_workers() -> int:
    import torch

    cores = len(os.sched_getaffinity(0)) // CORES_A_WORKER
    gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30 if torch.cuda.is_available() else 0
    return max(1, min(MOST_WORKERS, cores, int(gigabytes / GIGABYTES_A_WORKER)))


def write(folder: Path, ends: dict[str, str]) -> str:
    """What the parts left, as tables."""
    from benchmarks.gpu.card import describe

    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("test_*.json"))]
    lines = [f"{describe()}.", ""]
    lines += [f"- {part}: {end}" for part, end in ends.items()]
    lines += ["", "## Each model in each precision", ""]
    lines += table([row for row in rows if "images_per_s" in row], "test", "took_s")
    lines += ["", "## The same on card and CPU, in mixed precision and exported", ""]
    alike: dict[str, Row] = {}
    for row in rows:
        if "model" in row and "images_per_s" not in row:
            alike.setdefault(row["model"], {}).update({k: v for k, v in row.items() if k not in ("test", "took_s")})
    lines += table(list(alike.values()))
    others = [row for row in rows if "model" not in row and "transcript" not in row]
    lines += ["", *[f"- {row.pop('test')}: {row}" for row in others]]
    for path in sorted(folder.glob("bench-*.json")):
        lines += ["", f"## {path.stem.removeprefix('bench-').capitalize()}", "", *table(json.loads(path.read_text()))]
    if (failures := folder / "failures.txt").exists():
        lines += ["", "## What failed", "", "```text", failures.read_text().rstrip(), "```"]
    for row in [row for row in rows if "transcript" in row]:
        lines += ["", "## The commands", "", "```text", row["transcript"].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def table(rows: list[Row], *without: str) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row if name not in without))
    if not names:
        return ["nothing was measured"]
    body = [[_show(row.get(name, "")) for name in names] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in [names, ["---"] * len(names), *body]]


def _show(value: Any) -> str:
    if isinstance(value, list):
        return " → ".join(map(_show, value))
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 10 else str(value)


if __name__ == "__main__":
    sys.exit(main())
