"""The examples in docstrings hold."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.house import MODULES, name_of

WITH_EXAMPLES = [name_of(path) for path in MODULES if ">>> " in path.read_text()]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_a_module_give_what_they_say(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"agar_pipeline.{name}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0
