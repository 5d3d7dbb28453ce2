"""`agar config --keys`, which describes the config files where there is no checkout with its pages."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import CHECKOUT, runner


def test_every_key_and_rule_of_the_reference_page_is_described() -> None:
    done = runner({})("agar", "config", "--keys")
    assert done.returncode == 0, done.stderr
    page = (CHECKOUT / "docs" / "reference" / "configuration.md").read_text()
    first_cells = re.findall(r"^\| `([a-z_0-9]+)` \|", page, re.MULTILINE)
    assert len(first_cells) > 100
    assert sorted(first_cells) == sorted(re.findall(r"^  ([a-z_0-9]+): ", done.stdout, re.MULTILINE))
    assert "](" not in done.stdout


def test_it_takes_no_experiment() -> None:
    done = runner({})("agar", "config", "--keys", "experiment=demo")
    assert done.returncode == 2
    assert "leave the other arguments out" in done.stderr


def test_the_package_and_its_configs_refer_to_no_page_of_the_checkout() -> None:
    """A lab's project and an environment with the wheel have no docs/."""
    shipped: list[Path] = [*(CHECKOUT / "agar_pipeline").rglob("*.py"), *(CHECKOUT / "configs").rglob("*.yaml")]
    assert len(shipped) > 300
    assert [path for path in shipped if "docs/" in path.read_text()] == []
