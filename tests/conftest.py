"""What all tests share: a home of their own, small configs, and a way to call the real commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED_DATA = CHECKOUT.parent / "shared" / "data"
BIN = Path(sys.executable).parent

Run = Callable[..., subprocess.CompletedProcess[str]]


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
    """The real configs, with a pipeline `small` and an experiment `small` that trains three steps."""
    shutil.copytree(CHECKOUT / "configs", target)
    (target / "pipeline" / "small.yaml").write_text(
        "snapshot: {dataset: small}\n"
        "class_map: {S.aureus: 1, C.albicans: 2, E.coli: 3}\n"
        "split: {method: random, seed: 0, fractions: {train: 0.8, val: 0.2}}\n"
        "experiments: [small]\n"
    )
    (target / "experiment" / "small.yaml").write_text(
        "# @package _global_\n"
        "data: {input_size: 128, batch_size: 2}\n"
        "trainer: {max_epochs: null, max_steps: 3, accelerator: cpu}\n"
    )
    return target


def runner(environment: dict[str, str]) -> Run:
    """Calls a command of the virtual environment as a user would, from the checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
    env |= environment

    def run(command: str, *arguments: str, timeout_s: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / command), *arguments],
            cwd=CHECKOUT,
            env=env | more,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run
