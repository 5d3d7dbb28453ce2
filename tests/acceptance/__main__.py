"""`make acceptance`: every case in full, a table, and the score; before it that of files and settings of others.

Some of them: `python -m tests.acceptance -k 'case_41 or case_42'`.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import sys
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from rich.table import Table

from tests.acceptance.cases import CASES, Case
from tests.acceptance.files_of_others import PointsBoard, files_to_run
from tests.acceptance.points import POINTS

FULL = {
    "AGAR_ACCEPTANCE": "full",
    "AGAR_CRASH_ROUNDS": "50",
    "AGAR_FUZZ_EXAMPLES": "10000",
    "AGAR_LOSS_SEQUENCES": "300",
}
FUZZERS = (
    *(
        "tests/coco/test_coco_fuzz.py",
        "tests/fiftyone_io/importing/test_import_fuzz.py",
        "tests/config/test_config_fuzz.py",
    ),
    *("tests/fiftyone_io/importing/test_import_property.py", "tests/fiftyone_io/importing/test_loss_property.py"),
    "tests/fiftyone_io/importing/test_import_ways.py",
)
ENOUGH = 0.95


class Scoreboard:
    """Collects the worst grade of each case, over all its tests."""

    def __init__(self) -> None:
        self.grades: dict[int, tuple[float, str]] = {}
        self.all_asked_for = True

    def pytest_configure(self, config: pytest.Config) -> None:
        self.all_asked_for = not config.option.keyword

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "case":
                number, grade, reason = cast(tuple[int, float, str], value)
                self.grades[number] = min(self.grades.get(number, (2.0, "")), (grade, reason))

    def asked_for(self) -> dict[int, Case]:
        """All cases; with `-k` those that it leaves."""
        return {number: case for number, case in CASES.items() if self.all_asked_for or number in self.grades}

    def points(self) -> float:
        return sum(case.weight * self.grades.get(number, (0.0, ""))[0] for number, case in self.asked_for().items())

    def total(self) -> int:
        return sum(case.weight for case in self.asked_for().values())

    def show(self) -> None:
        table = Table("case", "what happens", "result", "weight", "points")
        words = {1.0: "as described", 0.5: "loud, unclear", 0.0: "no", -1.0: "SILENTLY WRONG"}
        for number, case in self.asked_for().items():
            grade, reason = self.grades.get(number, (0.0, "not run"))
            result = words[grade] if grade == 1 else f"{words[grade]}: {reason}"
            table.add_row(str(number), case.claim, result, str(case.weight), f"{grade * case.weight:g}")
        Console(width=None if sys.stdout.isatty() else 160).print(table)


def show_points(grades: dict[str, tuple[int, str]]) -> None:
    table = Table("of others", "what is read right, or refused with the reason", "result", "points")
    words = {1: "as described", 0: "no", -1: "SILENTLY WRONG"}
    for name, (grade, reason) in grades.items():
        result = f"{words[grade]}: {reason}" if reason else words[grade]
        table.add_row(name, POINTS[name].claim, result, str(grade))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def asks_for_cases_only() -> bool:
    """Whether `-k` names nothing but cases: then the other files are not collected, which takes half a minute."""
    words = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *sys.argv[1:]]
    names = [word for flag, word in itertools.pairwise(words) if flag == "-k"]
    return bool(names) and all(re.fullmatch(r"case_\d+( or case_\d+)*", name) for name in names)


def main() -> int:
    os.environ.update({name: os.environ.get(name, value) for name, value in FULL.items()})
    board, points = Scoreboard(), PointsBoard()
    here = str(Path(__file__).parent)
    options = ["-vv", "--timeout", "1800", "--numprocesses", "2", "--dist", "worksteal", "--durations", "30"]
    chosen = [here] if asks_for_cases_only() else [here, *FUZZERS, *files_to_run(FUZZERS)]
    code = pytest.main([*options, *chosen, *sys.argv[1:]], plugins=[board, points])
    board.show()
    grades = points.grades()
    if grades:
        show_points(grades)
        print(f"files and settings of others: {sum(grade for grade, _ in grades.values())}/{len(grades)}")
    print(f"score: {board.points():g}/{board.total()}")
    lost = any(grade < 0 for grade, _ in (*board.grades.values(), *grades.values()))
    missed = sum(grade for grade, _ in grades.values()) < ENOUGH * len(grades)
    return int(board.points() < ENOUGH * board.total() or missed or lost or code not in (0, 1))


if __name__ == "__main__":
    sys.exit(main())
