"""The pages' commands, and somebody with a fresh clone and a shell who types them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from agar_pipeline.plates import generate_plates
from tests.conftest import BIN, CHECKOUT, DATABASE_IDLE_S

DOCS = CHECKOUT / "docs"
PAGES = {str(page.relative_to(CHECKOUT)): page for page in (*sorted(DOCS.rglob("*.md")), CHECKOUT / "README.md")}
SERVING = {serving: f"python -m tests.docs.serves {serving}" for serving in ("dagster dev", "dagster-webserver")}
"""What serves until somebody stops it → the same, asked once."""
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


def blocks(page: str) -> list[Block]:
    not_run = r"(?:^<!-- not run by the tests: (.*?) -->\n)?"
    found = re.findall(rf"{not_run}^```console\n(.*?)^```", PAGES[page].read_text(), re.MULTILINE | re.DOTALL)
    return [Block(re.findall(r"^\$ (.*)$", text, re.MULTILINE), reason) for reason, text in found]


class Reader:
    """Has a clone of the checkout as it stands, committed or not, with photos in it; no variable of ours is set.

    The virtual environment is the one that runs the tests: `make setup` finds that there is nothing to do.
    """

    def __init__(self, folder: Path) -> None:
        if not (BIN.parent / ".installed").exists():
            pytest.skip("make setup did not make this virtual environment, and would install a second one")
        self.clone = folder / "agar_pipeline"
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_", "PYTEST_"))}
        self.env = kept | {"AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S, "PYTHONPATH": str(self.clone)}
        _publish_checkout(folder / "origin.git")
        self.type([f"git clone --quiet {folder}/origin.git {self.clone}"], folder=folder)
        self.type(
            [
                f"ln -s {BIN.parent} .venv",
                "touch --reference .venv/.installed pyproject.toml requirements.lock requirements-cluster.lock",
                "make --question .venv/.installed",
            ]
        )
        generate_plates(self.clone / "photos", 20, size_px=128, seed=5)

    def write_the_tutorials_files(self) -> None:
        """The configs that the tutorial has somebody write, and names for the files that it leads to."""
        configs, page = self.clone / "configs", PAGES["docs/tutorial.md"].read_text()
        experiment = re.search(r"```yaml\n(# @package _global_\n.*?)```", page, re.DOTALL)
        assert experiment is not None
        (configs / "experiment" / "first.yaml").write_text(experiment[1])
        (configs / "pipeline" / "mine.yaml").write_text(PIPELINE)
        for name, made in GIVEN.items():
            (self.clone / name).symlink_to(self.clone / ".agar" / "artifacts" / made)

    def follow_the_tutorial(self) -> None:
        self.write_the_tutorials_files()
        self.follow("docs/tutorial.md")
        self.env |= {"AGAR_PIPELINE": "mine", "PATH": f"{self.clone}/.venv/bin{os.pathsep}{self.env['PATH']}"}

    def follow(self, page: str, swaps: Mapping[str, str] | None = None) -> str:
        """Type a page's commands, its name relative to the checkout; `swaps` as in `type`."""
        return self.type([command for block in blocks(page) if not block.reason for command in block.commands], swaps)

    def type(self, lines: Iterable[str], swaps: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
        """Type lines into one shell; returns what is said. A command that fails ends it.

        Args:
            lines: Without the prompt.
            swaps: What stands for something of the reader's → what it is here.
            folder: Default: the clone.
        """
        script = "\n".join(lines)
        for text, ours in {**SERVING, **(swaps or {})}.items():
            script = script.replace(text, ours)
        done = subprocess.run(
            ["bash", "-exc", script], cwd=folder or self.clone, env=self.env, text=True, timeout=550,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout


def _publish_checkout(repository: Path) -> None:
    """All of it that is not ignored, for somebody to clone."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t", f"--git-dir={repository}", f"--work-tree={CHECKOUT}"]
    for words in (["add", "--all"], ["commit", "--quiet", "--no-verify", "--message=as it stands"]):
        subprocess.run([*git, *words], cwd=CHECKOUT, check=True)
