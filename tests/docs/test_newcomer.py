"""The README and the contributor's pages, followed to the letter in a fresh clone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.pages import Reader


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("newcomer"))


def test_the_readme(newcomer: Reader) -> None:
    swaps = {
        "git clone ADDRESS agar_pipeline && cd agar_pipeline": "pwd",
        "make test": "PYTEST_ADDOPTS='tests/test_plates.py' make test",
    }
    newcomer.env["EDITOR"] = "sed -i s/0.2/0.25/;s/0.8/0.75/"
    newcomer.follow("README.md", swaps)


def test_how_to_contribute(newcomer: Reader) -> None:
    swaps = {
        "make test": "PYTEST_ADDOPTS='tests/test_plates.py' make test",
        "make acceptance": "PYTEST_ADDOPTS='-k case_22' make acceptance",
    }
    newcomer.follow("docs/contributing.md", swaps)


def test_how_to_add_a_rule(newcomer: Reader) -> None:
    newcomer.follow("docs/how-to/add-a-rule.md")


def test_how_it_scales(newcomer: Reader) -> None:
    newcomer.follow("docs/explanation/scale.md", {"10000,100000,1000000": "50,100"})
