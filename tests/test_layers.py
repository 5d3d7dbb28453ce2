"""What is installed with the package alone, what with an extra, and what the error says where one is missing."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from agar_pipeline import errors
from agar_pipeline.errors import EXTRAS, MissingPackageError
from tests.house import CHECKOUT, IMPORTS

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    """Distributions that requirements name, in lower case."""
    found = (re.match(r"[\w.-]+", line) for line in requirements)
    return {match[0].lower().replace("_", "-") for match in found if match}


def test_every_library_that_we_import_is_declared_in_the_layer_that_its_absence_names() -> None:
    base, extras = names(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    distributions = packages_distributions()
    imported = {name.split(".")[0] for names_ in IMPORTS.values() for name in names_}
    for module in imported - set(sys.stdlib_module_names) - {"agar_pipeline"}:
        if module in ("ray", "pillow_heif", "eta", "dagster_shared"):  # perhaps not installed; a part of another
            assert module in EXTRAS
            continue
        of = {name.lower().replace("_", "-") for name in distributions[module]}
        declared = names(extras[EXTRAS[module]]) if module in EXTRAS else base
        assert of & declared, f"{module} of {of} is not in {EXTRAS.get(module, 'dependencies')}"


def test_all_is_every_extra_of_one_machine() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(EXTRAS.values()) == extras.keys() - {"all", "dev"}
    (everything,) = extras["all"]
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == set(EXTRAS.values()) - {"cluster"}


def test_a_package_that_only_one_module_needs_is_no_part_of_the_base() -> None:
    heavy = {"dagster", "fiftyone", "pymongo", "mlflow-skinny", "fastapi", "onnxruntime", "ray"}
    assert not heavy & names(PROJECT["dependencies"])


@pytest.mark.parametrize(
    ("checkout", "told"),
    [
        (True, "`make setup`, or pip install 'agar_pipeline[fiftyone]'"),
        (False, "pip install 'agar_pipeline[fiftyone]'"),
    ],
    ids=["in a checkout", "elsewhere"],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    checkout: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not checkout:
        monkeypatch.setattr(errors, "_MAKEFILE", CHECKOUT / "nothing")
    error = MissingPackageError.of(ModuleNotFoundError(name="pymongo.errors"))
    assert (error.problem, error.next_step) == ("the package pymongo is not installed", told)
    monkeypatch.setitem(sys.modules, "nosuch", None)
    MissingPackageError.require("json")
    with pytest.raises(MissingPackageError, match="nosuch is not installed"):
        MissingPackageError.require("json", "nosuch")
