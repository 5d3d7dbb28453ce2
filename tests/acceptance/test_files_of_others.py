"""The points of files and settings of others name tests that there are."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from tests.acceptance.files_of_others import PointsBoard
from tests.acceptance.points import POINTS
from tests.conftest import CHECKOUT


def functions_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_letter_and_tool_has_tests_that_exist() -> None:
    named = {name.partition("[")[0].partition("::")[::2] for point in POINTS.values() for name in point.tests}
    there = {file: functions_in(CHECKOUT / file) for file in {file for file, _ in named}}
    assert not [f"{file}::{name}" for file, name in sorted(named) if name not in there[file]]
    assert all(point.tests for point in POINTS.values())
    assert set(string.ascii_uppercase[:22]) <= POINTS.keys()


@pytest.mark.parametrize(("failed", "score"), [([], len(POINTS)), (["CVAT"], len(POINTS) - 2)])
def test_a_silent_wrong_answer_costs_its_point_twice(failed: list[str], score: int) -> None:
    board = PointsBoard()
    for name, point in POINTS.items():
        for test in point.tests:
            board.outcomes[test] = "wrong" if name in failed else ""
    assert sum(grade for grade, _ in board.grades().values()) == score
