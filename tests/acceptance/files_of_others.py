"""Files and settings of others: a point each, held by tests of the ordinary suite, which `make acceptance` runs too.

Beside the cases, with a score of its own: what labs bring is read right, or refused with the reason.
"""

from __future__ import annotations

import pytest

from tests.acceptance.points import POINTS, Point


def files_to_run(already: tuple[str, ...]) -> list[str]:
    """The tests of the points, without those of files that run anyway."""
    names = {name.partition("[")[0] for point in POINTS.values() for name in point.tests}
    return sorted(name for name in names if not name.startswith((*already, "tests/acceptance/")))


class PointsBoard:
    """Collects what became of the tests of each point."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        """Node id → empty where it passed, else the reason why not."""
        self.skipped: set[str] = set()
        """What this machine cannot do, as a test with a plugin that is not installed."""
        self.all_asked_for = True

    def pytest_configure(self, config: pytest.Config) -> None:
        self.all_asked_for = not config.option.keyword

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.passed):
            lines = str(report.longrepr).splitlines() if report.failed else [""]
            self.outcomes[report.nodeid] = next((line for line in reversed(lines) if line.strip()), "")
        elif report.skipped:
            self.skipped.add(report.nodeid)

    def grades(self) -> dict[str, tuple[int, str]]:
        """Name of a point → 1, 0 or −1, and why; with `-k` only those of which a test ran."""
        found = {name: self._grade(point) for name, point in POINTS.items()}
        return {name: grade for name, grade in found.items() if self.all_asked_for or grade[1] != "not run"}

    def _grade(self, point: Point) -> tuple[int, str]:
        ran = [node for node in self.outcomes if any(_is_of(node, name) for name in point.tests)]
        wrong = [self.outcomes[node] for node in ran if self.outcomes[node]]
        if wrong:
            return -1 if point.silent else 0, wrong[0]
        seen = {*ran, *self.skipped}
        complete = all(any(_is_of(node, name) for node in seen) for name in point.tests)
        return (1, "") if ran and complete else (0, "not run")


def _is_of(node: str, name: str) -> bool:
    return node.startswith(name) if "[" in name else node.partition("[")[0] == name
