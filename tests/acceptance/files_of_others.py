"""Files and settings of others: a point each, held by tests of the ordinary suite, which `make acceptance` runs too.

Beside the cases, with a score of its own: what labs bring is read right, or refused with the reason.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

FIFTYONE = "tests/fiftyone_io"
TOOLS = f"{FIFTYONE}/test_tool_exports.py"
READ = f"{TOOLS}::test_what_a_tool_exports_is_read_as_it_was_drawn"
REFUSED = f"{TOOLS}::test_a_tools_own_format_is_refused_by_its_name_with_what_to_export"


class Point(NamedTuple):
    """One kind of trouble."""

    claim: str
    tests: tuple[str, ...]
    """Node ids, or the beginning of those of a parametrized test."""
    silent: bool = False
    """Whether a test that fails means a wrong answer without a word: it costs the point, and as much again."""


def tool(name: str) -> Point:
    return Point(f"what {name} exports", (f"{READ}[{name} ", f"{REFUSED}[{name} "), silent=True)


POINTS: dict[str, Point] = {
    **{name: tool(name) for name in ("CVAT", "Label Studio", "Roboflow", "VIA", "VoTT", "Supervisely", "makesense")},
    **{name: tool(name) for name in ("Darwin (V7)", "FiftyOne")},
    "labelme": Point("what labelme saves", (f"{READ}[labelme ",), silent=True),
}


def files_to_run(already: tuple[str, ...]) -> list[str]:
    """The tests of the points, without those of files that run anyway."""
    names = {name.partition("[")[0] for point in POINTS.values() for name in point.tests}
    return sorted(name for name in names if not name.startswith((*already, "tests/acceptance/")))


class PointsBoard:
    """Collects what became of the tests of each point."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        """Node id → empty where it passed, else the reason why not."""
        self.all_asked_for = True

    def pytest_configure(self, config: pytest.Config) -> None:
        self.all_asked_for = not config.option.keyword

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.passed):
            lines = str(report.longrepr).splitlines() if report.failed else [""]
            self.outcomes[report.nodeid] = next((line for line in reversed(lines) if line.strip()), "")

    def grades(self) -> dict[str, tuple[int, str]]:
        """Name of a point → 1, 0 or −1, and why; with `-k` only those of which a test ran."""
        found = {name: self._grade(point) for name, point in POINTS.items()}
        return {name: grade for name, grade in found.items() if self.all_asked_for or grade[1] != "not run"}

    def _grade(self, point: Point) -> tuple[int, str]:
        of_tests = [[why for node, why in self.outcomes.items() if _is_of(node, name)] for name in point.tests]
        wrong = [why for reasons in of_tests for why in reasons if why]
        if wrong:
            return -1 if point.silent else 0, wrong[0]
        return (1, "") if all(of_tests) else (0, "not run")


def _is_of(node: str, name: str) -> bool:
    return node.startswith(name) if "[" in name else node.partition("[")[0] == name
