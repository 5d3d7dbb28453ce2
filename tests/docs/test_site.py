"""The documents are built without a warning, their links lead somewhere, and what they name is there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from agar_pipeline.commands import agar
from docs.generate import KEPT, commands_of, on_page_markdown
from tests.conftest import BIN, CHECKOUT
from tests.defs.test_web_ui import CHROMIUM, FLAGS, api
from tests.docs.pages import DOCS, PAGES, blocks

NOT_RUN = [block for page in PAGES for block in blocks(page) if block.reason]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [str(BIN / "mkdocs"), "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    for path, page in pages.items():
        assert "```" not in page, f"{path}: a block of code is not shown as one"
        loaded = re.findall(r'(?:<script[^>]* src|<link[^>]* href|<img[^>]* src)="(https?:[^"]+)"', page)
        assert not loaded, f"{path.name} loads {loaded}"
        for link in re.findall(r'href="([^":?]*)"', page):
            target, _, anchor = link.partition("#")
            there = path if not target else (path.parent / target).resolve()
            there = there / "index.html" if there.is_dir() else there
            assert there.exists() or path.name == "404.html", f"{path}: {link} leads nowhere"
            if anchor and there in pages:
                assert f'id="{anchor}"' in pages[there], f"{path}: {link} has no such place"
    commands = (site / "reference" / "commands" / "index.html").read_text()
    assert "agar launch-check" in commands
    assert "batch_size" in (site / "reference" / "configuration" / "index.html").read_text()


@pytest.mark.parametrize(("path", "row"), zip(KEPT, ("| `group_duplicates` |", "| `dfine_n` | 42.8 |"), strict=True))
def test_the_generated_tables_in_the_checkout_are_up_to_date(path: Path, row: str) -> None:
    page = path.read_text()
    assert on_page_markdown(page) == page, "the code changed: run .venv/bin/python -m docs.generate, and commit it"
    assert row in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is here to press a button in")
def test_what_the_button_copies_can_be_pasted_into_a_shell(site: Path) -> None:
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto((site / "how-to" / "slurm" / "index.html").as_uri())
        copied = []
        for button in page.locator(".md-code__button[data-md-type='copy']").all():
            button.click()
            page.locator("body").evaluate("body => body.prepend(document.createElement('textarea'))")
            page.locator("textarea").first.press("Control+V")
            copied.append(page.locator("textarea").first.input_value())
        browser.close()
    script, commands = copied
    assert script.startswith("#!/bin/bash\n#SBATCH"), "a script keeps its remarks"
    typed = [line.rstrip() for line in commands.splitlines()]
    assert typed[3:] == ["agar run +bbox_report", "sbatch --wait train.sh", "agar run"], "no prompt, no remark"


def test_only_what_wants_docker_or_kubernetes_or_a_gpu_or_is_run_elsewhere_is_not_run() -> None:
    """Elsewhere: what needs a person's work in between, or minutes that another page spends already."""
    of_gpu = {"make test-gpu", "make bench-gpu", "bash benchmarks/gpu/run.sh wheels gpu-report.md"}
    by_test = {block.reason: re.findall(r"^the same is run by (test_\w+)$", block.reason) for block in NOT_RUN}
    assert {name for names in by_test.values() for name in names} <= defined_tests()
    not_run = {command for block in NOT_RUN if not by_test[block.reason] for command in block.commands}
    assert {command.split()[0] for command in not_run - of_gpu} <= {"docker", "helm", "kubectl", "printf"}


def defined_tests() -> set[str]:
    files = (CHECKOUT / "tests").rglob("*.py")
    return {found for path in files for found in re.findall(r"def (test_\w+)", path.read_text())}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_sentence_names_are_there(page: str) -> None:
    """And their options; blocks and tables of commands are run, in other tests."""
    known = {path[1:]: command for path, command in commands_of(agar, ("agar",))}
    for named in re.findall(r"`agar ([a-z][^`…]*)", PAGES[page].read_text()):
        words = shlex.split(named)
        command = known.get(tuple(words[:2])) or known.get(tuple(words[:1]))
        assert command is not None, f"{page}: there is no agar {words[0]}"
        options = {option for parameter in command.params for option in parameter.opts}
        if not isinstance(command, click.Group) and command.name not in ("train", "smoke"):  # those hand some to Hydra
            assert {word for word in words if word.startswith("--")} <= options, f"{page}: agar {named}"


@pytest.mark.parametrize("page", ["invariants", "security"])
def test_what_a_page_promises_is_held_by_tests_that_exist(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "explanation" / f"{page}.md").read_text()))
    defined = defined_tests()
    assert named
    assert not named - defined
