"""`make bench` goes on where one benchmark fails, and its table says what failed or is below its aim."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize(
    ("name", "given", "used"),
    [([], {}, "tiny dfine"), ([], {"OVERFIT": "all"}, "all"), (["overfit"], {}, "None")],
    ids=["all benchmarks", "all with a setting", "one"],
)
def test_a_long_benchmark_uses_less_data_only_in_a_run_of_all(
    name: list[str], given: dict[str, str], used: str, tmp_path: Path
) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    for file in ("__init__.py", "__main__.py", "_timing.py"):
        shutil.copy(CHECKOUT / "benchmarks" / file, package)
    (package / "overfit.py").write_text("def main():\n    import os\n    print('uses', os.environ.get('OVERFIT'))\n")
    env = {key: value for key, value in os.environ.items() if key != "OVERFIT"} | given
    command = [sys.executable, "-m", "benchmarks", *name]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert f"uses {used}" in done.stdout
    assert (f"OVERFIT={used!r}" in done.stdout) == (not name), "the table says so"
