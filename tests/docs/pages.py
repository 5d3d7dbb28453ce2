"""The pages' commands, and somebody with a fresh clone and a shell who types them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from agar_pipeline.plates.generate import generate_plates
from tests.cluster.processes import running
from tests.conftest import BIN, CHECKOUT, DATABASE_IDLE_S

DOCS = CHECKOUT / "docs"
PAGES = {str(page.relative_to(CHECKOUT)): page for page in (*sorted(DOCS.rglob("*.md")), CHECKOUT / "README.md")}
SERVERS = ("agar ui", "dagster dev", "dagster-webserver", "agar view --experiment mine")
SERVING = {command: f"python -m tests.docs.serves {command}" for command in SERVERS}
"""What serves until somebody stops it → the same, asked once."""


class Block(NamedTuple):
    """Commands of a page; `reason` where they cannot run here."""

    commands: list[str]
    reason: str


def blocks(page: str, until: str = "") -> list[Block]:
    """Those of a page, or of what stands in it before `until`."""
    not_run = r"(?:^<!-- not run by the tests: (.*?) -->\n)?"
    text = PAGES[page].read_text()
    text = text[: text.index(until)] if until else text
    found = re.findall(rf"{not_run}^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [Block(re.findall(r"^\$ (.*)$", lines, re.MULTILINE), reason) for reason, lines in found]


def commands(page: str, until: str = "") -> list[str]:
    """Those that run, in the order of the page."""
    return [command for block in blocks(page, until) if not block.reason for command in block.commands]


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
        self.env["XDG_DATA_HOME"] = str(folder / "data")  # where the clone's home is
        _publish_checkout(folder / "origin.git")
        set_up = [
            f"ln -s {shlex.quote(str(BIN.parent))} .venv",
            "touch --reference .venv/.installed pyproject.toml requirements{,-dev,-cluster}.lock",
            "make --question .venv/.installed",
        ]
        self.type([commands("README.md")[0], *set_up], {"ADDRESS": shlex.quote(f"{folder}/origin.git")}, folder)
        generate_plates(self.clone / "photos", 20, size_px=128, seed=5)

    def activate(self, pipeline: str) -> None:
        """What everybody types first in a new shell."""
        self.env |= {"AGAR_PIPELINE": pipeline, "PATH": f"{self.clone}/.venv/bin{os.pathsep}{self.env['PATH']}"}

    def name_what_will_be_made(self, experiment: str) -> None:
        """Files that pages speak of: a sheet of plates, and links to where an experiment leaves them."""
        artifacts = self.clone / ".agar" / "artifacts"
        (self.clone / "best.ckpt").symlink_to(artifacts / experiment / "training_run/latest/checkpoints/best.ckpt")
        (self.clone / "results.json").symlink_to(artifacts / experiment / "evaluation/latest/predictions.json")
        (self.clone / "counting.json").symlink_to(artifacts / experiment / "evaluation/latest/counting.json")
        (sheet,) = re.findall(r"```csv\n(.*?)```", PAGES["docs/how-to/cfu.md"].read_text(), re.DOTALL)
        (self.clone / "plates.csv").write_text(sheet)
        for part in ("train.json", "val.json"):
            (self.clone / part).symlink_to(artifacts / "coco_cache/latest/coco" / part)

    def follow_the_tutorial(self, until: str = "") -> None:
        """And write the first two configs that it shows, with three seconds of training and two folds."""
        pipeline, experiment, *_ = re.findall(r"```yaml\n(.*?)```", PAGES["docs/tutorial.md"].read_text(), re.DOTALL)
        (self.clone / "configs" / "pipeline" / "mine.yaml").write_text(pipeline)  # the import finds it, and leaves it
        (self.clone / "configs" / "experiment" / "first.yaml").write_text(
            experiment.replace("180", "3") + "review: {folds: 2}\n"
        )
        self.name_what_will_be_made("first")
        self.follow("docs/tutorial.md", until=until)
        self.activate("mine")

    def follow(self, page: str, swaps: Mapping[str, str] | None = None, until: str = "") -> str:
        """Type a page's commands, its name relative to the checkout; `swaps` as in `type`."""
        return self.type(commands(page, until), swaps)

    def type(self, lines: Iterable[str], swaps: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
        """Type lines into one shell; returns what is said. A command that fails ends it.

        Args:
            lines: Without the prompt.
            swaps: What stands for something of the reader's → what it is here.
            folder: Default: the clone.
        """
        script = swap("\n".join(lines), {**(swaps or {}), **SERVING})
        shell = subprocess.Popen(
            ["bash", "-exc", script], cwd=folder or self.clone, env=self.env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with running(shell, patience_s=20):
            said, _ = shell.communicate(timeout=500)
        assert shell.returncode == 0, said[-4000:]
        return said


def swap(text: str, swaps: Mapping[str, str]) -> str:
    """Put what is here in the place of what stands for something of the reader's."""
    for theirs, ours in swaps.items():
        text = text.replace(theirs, ours)
    return text


def _publish_checkout(repository: Path) -> None:
    """All of it that is not ignored, for somebody to clone."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
    who = [word for setting in ("user.name=t", "user.email=t", "commit.gpgsign=false") for word in ("-c", setting)]
    for words in (["add", "--all"], ["commit", "--quiet", "--no-verify", "--message=as it stands"]):
        git = ["git", *who, f"--git-dir={repository}", f"--work-tree={CHECKOUT}"]
        subprocess.run([*git, *words], cwd=CHECKOUT, check=True)
