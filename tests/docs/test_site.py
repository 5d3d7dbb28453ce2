"""The documents are built without a warning, their links lead somewhere, and every command in them is run or parsed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from agar_pipeline.commands import agar
from agar_pipeline.commands.experiment import parse_experiment
from tests.conftest import BIN, CHECKOUT, DATABASE_IDLE_S, copy_configs

DOCS = CHECKOUT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md"), key=lambda path: (path.name != "tutorial.md", path)), CHECKOUT / "README.md"]
PIPELINE = "snapshot: {dataset: plates}\nclass_map: {S.aureus: 1, C.albicans: 2, E.coli: 3}\nexperiments: [first]\n"
GIVEN = {
    "best.ckpt": "first/training_run/latest/checkpoints/best.ckpt",
    "results.json": "first/evaluation/latest/predictions.json",
    "val.json": "coco_cache/latest/coco/val.json",
}
"""Files that pages speak of, where the tutorial leaves them."""


class Block(NamedTuple):
    """Commands of a page; `reason` where they cannot run here."""

    commands: list[str]
    reason: str


def blocks(page: Path) -> list[Block]:
    not_run = r"(?:^<!-- not run by the tests: (.*?) -->\n)?"
    found = re.findall(rf"{not_run}^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(re.findall(r"^\$ (.*)$", text, re.MULTILINE), reason) for reason, text in found]


def name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """Somebody with a folder of photos, the configs of the tutorial, and a shell."""
    from agar_pipeline.plates import generate_plates

    folder = tmp_path_factory.mktemp("reader")
    generate_plates(folder / "photos", 20, size_px=128, seed=5)
    configs = copy_configs(folder / "configs")
    (configs / "pipeline" / "mine.yaml").write_text(PIPELINE)
    (configs / "experiment" / "first.yaml").write_text(
        re.search(r"```yaml\n(# @package _global_\n.*?)```", (DOCS / "tutorial.md").read_text(), re.DOTALL)[1]  # type: ignore[index]
    )
    for given, made in GIVEN.items():
        (folder / given).symlink_to(folder / "home" / "artifacts" / made)
    env = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
    env |= {"AGAR_HOME": str(folder / "home"), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "mine"}
    return folder, env | {"AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S, "PATH": f"{BIN}{os.pathsep}{env['PATH']}"}


@pytest.mark.parametrize("page", [page for page in PAGES if any(not b.reason for b in blocks(page))], ids=name)
def test_the_commands_of_a_page_run(page: Path, reader: tuple[Path, dict[str, str]]) -> None:
    """In the order of the pages: the tutorial comes first."""
    folder, env = reader
    script = "\n".join(command for block in blocks(page) if not block.reason for command in block.commands)
    done = subprocess.run(["bash", "-exc", script], cwd=folder, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "command", [c for page in PAGES for block in blocks(page) if block.reason for c in block.commands]
)
def test_a_command_that_cannot_run_here_is_one(command: str) -> None:
    words = [word for word in shlex.split(command, comments=True) if not re.match(r"AGAR_\w+=", word)]
    words = words[: words.index("&&")] if "&&" in words else words
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "python":
        assert all((CHECKOUT / word).exists() for word in words if word.startswith("tests/"))
    elif words[0] == "agar":
        parse(words[1:])
    else:
        known = ("dagster", "source", "git", "cd", "export", "eval", "cp", "vi", "pip", "pre-commit")
        assert words[0].removeprefix(".venv/bin/") in known, f"what is {words[0]}?"


def parse(words: list[str]) -> None:
    """Raises where a command or option does not exist, or an experiment does not compose."""
    context = click.Context(agar)
    command = agar.get_command(context, words[0])
    assert command is not None, f"there is no agar {words[0]}"
    if words[0] in ("train", "smoke"):
        parse_experiment([word for word in words[1:] if not word.startswith("-")])
    else:
        if isinstance(command, click.Group):
            context, words = click.Context(command, parent=context), words[1:]
            command = command.get_command(context, words[0])
            assert command is not None
        missing = [word for word in words if word == "photos"]  # a folder of the reader's
        command.make_context(
            words[0], [str(CHECKOUT) if word in missing else word for word in words[1:]], parent=context
        )


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: path.read_text() for path in tmp_path.rglob("*.html")}
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
    commands = (tmp_path / "reference" / "commands" / "index.html").read_text()
    assert "agar launch-check" in commands
    assert "batch_size" in (tmp_path / "reference" / "configuration" / "index.html").read_text()


def test_the_invariants_name_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "explanation" / "invariants.md").read_text()))
    defined = {
        found
        for path in (CHECKOUT / "tests").rglob("*.py")
        for found in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named
    assert not named - defined
