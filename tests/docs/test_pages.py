"""Every command of the pages runs, typed into one shell after another by somebody who has done the tutorial."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import CHECKOUT
from tests.docs.pages import PAGES, Reader, blocks

TUTORIAL = "docs/tutorial.md"
ELSEWHERE = {
    "README.md": "tests/docs/test_newcomer.py",
    "docs/contributing.md": "tests/docs/test_newcomer.py",
    "docs/how-to/add-a-rule.md": "tests/docs/test_newcomer.py",
    "docs/explanation/scale.md": "tests/docs/test_newcomer.py",
    "docs/how-to/production.md": "tests/cluster/test_postgres.py",
    "docs/how-to/ray.md": "tests/cluster/test_ray_dagster.py",
    "docs/how-to/shared-store.md": "tests/cluster/test_shared_store.py",
    "docs/how-to/slurm.md": "tests/cluster/test_slurm.py",
}
"""Pages that need something more → where they are followed."""
HERE = [page for page in PAGES if page not in (TUTORIAL, *ELSEWHERE) and blocks(page)]


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_that_is_followed_elsewhere_is(page: str) -> None:
    assert f'"{page}"' in (CHECKOUT / ELSEWHERE[page]).read_text()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    reader = Reader(tmp_path_factory.mktemp("reader"))
    reader.follow_the_tutorial()
    return reader


def test_the_steps_of_the_workflow_run(reader: Reader) -> None:
    workflow = re.search(r"```yaml\n(name:.*?)```", PAGES["docs/how-to/ci.md"].read_text(), re.DOTALL)
    assert workflow is not None
    steps = yaml.safe_load(workflow[1])["jobs"]["data"]["steps"]
    reader.type([step["run"] for step in steps if "run" in step])


@pytest.mark.parametrize("page", HERE)
def test_the_commands_of_a_page_run(page: str, reader: Reader) -> None:
    reader.follow(page)
