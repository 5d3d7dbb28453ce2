"""`make bench` goes on where one benchmark fails, and its table says what failed or is below its aim."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

GOOD = """import subprocess, sys
from benchmarks._timing import print_ratio
def main():
    subprocess.run([sys.executable, "-P", "-c", "import benchmarks._timing"], check=True)  # as `launch` starts a rank
    print_ratio('good', [3.0], [1.0], aim=2)
"""
LOW = GOOD.replace("good", "low").replace("3.0", "1.0")
BROKEN = "def main():\n    raise OSError('nothing listens')\n"


@pytest.mark.parametrize(
    ("modules", "code", "table"),
    [
        ({"b_good": GOOD}, 0, [["good", "3.00", "2"]]),
        (
            {"a_broken": BROKEN, "b_good": GOOD, "c_low": LOW},
            1,
            [
                ["a_broken", "failed", "with", "exit", "code", "1"],
                ["good", "3.00", "2"],
                ["low", "1.00", "2", "below", "its", "aim"],
            ],
        ),
    ],
    ids=["all reach their aims", "one is broken and one too slow"],
)
def test_the_table_has_every_benchmark(
    modules: dict[str, str], code: int, table: list[list[str]], tmp_path: Path
) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name in ("__init__.py", "__main__.py", "_timing.py"):
        shutil.copy(CHECKOUT / "benchmarks" / name, package)
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "benchmarks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines[-len(table) :]] == table
    assert lines[-len(table) - 1].split() == ["ratio", "value", "aim"]
    assert " cores, Python 3." in done.stdout, "the machine"
