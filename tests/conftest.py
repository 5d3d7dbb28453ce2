"""What all tests share: a home of their own, small configs, and a way to call the real commands."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.warm_agar import call_agar

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED_DATA = CHECKOUT.parent / "shared" / "data"
BIN = Path(sys.executable).parent
DATABASE_IDLE_S = os.environ.setdefault("AGAR_DATABASE_IDLE_S", "10")
"""The many homes of the tests need no database that waits for the next command."""

TESTS_HOME = tempfile.mkdtemp(prefix="agar-tests-")
os.environ["AGAR_HOME"] = f"{TESTS_HOME}/home"
atexit.register(shutil.rmtree, TESTS_HOME, ignore_errors=True)
"""Of tests that have none of their own: nothing is written into that of whoever runs them."""

Run = Callable[..., subprocess.CompletedProcess[str]]

LONGEST_FILES = (
    "tests/docs/test_newcomer.py",
    "tests/test_chain.py",
    "tests/docs/test_pages.py",
    "tests/acceptance/test_stopped.py",
)
"""Files of minutes, started first in this order: else one would still run when the others are done."""


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled files and tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = {file: place for place, file in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: first.get(item.nodeid.partition("::")[0], len(first)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real annotated images, which the project does not ship."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here: real images are not part of the project")
    return SHARED_DATA


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that this process uses."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AGAR_HOME", str(folder))
    return folder


def copy_configs(target: Path) -> Path:
    """The real configs, with a pipeline `small` and two experiments, `small` and `other`, that train a few steps."""
    shutil.copytree(CHECKOUT / "configs", target)
    (target / "pipeline" / "small.yaml").write_text(
        "snapshot: {dataset: small}\n"
        "class_map: {S.aureus: 1, C.albicans: 2, E.coli: 3}\n"
        "split: {method: random, seed: 0, fractions: {train: 0.8, val: 0.2}}\n"
        "experiments: [small, other]\n"
        "auto_refresh: true\n"
    )
    (target / "experiment" / "small.yaml").write_text(
        "# @package _global_\n"
        "data: {input_size: 128, batch_size: 2}\n"
        "trainer: {max_epochs: null, max_steps: 3, accelerator: cpu}\n"
    )
    (target / "experiment" / "other.yaml").write_text(
        "# @package _global_\n"
        "data: {input_size: 96, batch_size: 2}\n"
        "trainer: {max_epochs: null, max_steps: 1, accelerator: cpu}\n"
    )
    return target


def edit_samples(home: Path, dataset: str, change: Callable[[Any], Any]) -> Any:
    """Change a dataset behind the pipeline's back: `change` gets the raw collection of its samples."""
    from agar_pipeline.fiftyone_io.database.connection import connect, open_database

    with open_database("embedded", home) as uri, connect(uri) as client:
        database = client["fiftyone"]
        document = database["datasets"].find_one({"name": dataset})
        assert document is not None
        return change(database[document["sample_collection_name"]])


def move_first_box(samples: Any) -> str:
    """Move one box of the first image that has any by a hundredth of the picture; returns the image's path."""
    sample = samples.find_one({"ground_truth.detections.0": {"$exists": True}}, sort=[("filepath", 1)])
    x = sample["ground_truth"]["detections"][0]["bounding_box"][0]
    moved = x - 0.01 if x > 0.5 else x + 0.01
    samples.update_one({"_id": sample["_id"]}, {"$set": {"ground_truth.detections.0.bounding_box.0": moved}})
    return str(sample["filepath"])


def runner(environment: dict[str, str]) -> Run:
    """Calls a command of the virtual environment as a user would, from the checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
    env |= {"AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S, "AGAR_HOME": f"{TESTS_HOME}/home", **environment}

    def run(command: str, *arguments: str, timeout_s: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        if command == "agar":
            return call_agar(arguments, env | more, CHECKOUT, timeout_s)
        return subprocess.run(
            [str(BIN / command), *arguments],
            cwd=CHECKOUT,
            env=env | more,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run
