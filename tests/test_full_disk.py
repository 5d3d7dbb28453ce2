"""A disk that is full at each asset of the chain: clear words, nothing half-written, the old state intact."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agar_pipeline.plates import generate_plates
from agar_pipeline.store import Key, Store, find_faults
from tests.conftest import Run, copy_configs, edit_samples, move_first_box, runner

ASSETS = [
    "snapshot", "split", "coco_cache", "bbox_report", "small/smoke_run", "small/training_run", "small/evaluation",
    "leaderboard",
]  # fmt: skip
CHOSEN = os.environ.get("AGAR_FULL_DISK", "split bbox_report").split()
"""Each costs some seconds; `AGAR_FULL_DISK=all` shows the whole chain."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, Path]:
    folder = tmp_path_factory.mktemp("full")
    home, configs = folder / "home", copy_configs(folder / "configs")
    small = configs / "pipeline" / "small.yaml"
    small.write_text(small.read_text().replace("[small, other]", "[small]"))
    generate_plates(folder / "plates", 12, size_px=128, seed=5)
    run = runner({"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"})
    assert run("agar", "import", "agar", "--images-dir", str(folder / "plates"), "--dataset", "small").returncode == 0
    first = run("agar", "run", *(["snapshot", "split", "coco_cache", "bbox_report"] if CHOSEN != ["all"] else []))
    assert first.returncode == 0, first.stderr
    return run, home, configs


def edit_everything(home: Path, configs: Path, asset: str) -> None:
    """Every asset becomes stale, by data and by config."""
    edit_samples(home, "small", move_first_box)
    pipeline = configs / "pipeline" / "small.yaml"
    pipeline.write_text(re.sub(r"seed: \d+", f"seed: {1 + ASSETS.index(asset)}", pipeline.read_text()))


@pytest.fixture
def full_disk(lab: tuple[Run, Path, Path], asset: str) -> Iterator[Path]:
    """The asset's folder as a disk with hardly any room beside what is there."""
    _, home, _ = lab
    key = Key(*reversed(asset.split("/")))
    folder, aside = Store(home).folder(key), home / "aside"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, aside, symlinks=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        used = shutil.disk_usage(folder).used
        subprocess.run(["mount", "-o", f"remount,size={used + 8192}", str(folder)], check=True)
        yield folder
    finally:
        shutil.rmtree(aside)
        shutil.copytree(folder, aside, symlinks=True)
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)
        aside.rename(folder)


@pytest.mark.parametrize("asset", ASSETS if CHOSEN == ["all"] else CHOSEN)
def test_a_disk_that_is_full_leaves_the_old_state_and_names_bytes(
    lab: tuple[Run, Path, Path], asset: str, full_disk: Path
) -> None:
    run, home, configs = lab
    latest = (full_disk / "latest").resolve()
    edit_everything(home, configs, asset)
    before = ASSETS[: ASSETS.index(asset)]
    if before:
        assert run("agar", "run", *before).returncode == 0
    done = run("agar", "run", asset)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip()[done.stderr.strip().rindex("error: ") :]
    assert re.search(rf"no space left to write .*{asset} needs .*; [\d.]+ (bytes|kB) are free", last), done.stderr
    assert len(last.splitlines()) <= 3
    assert "Traceback" not in done.stderr
    assert (full_disk / "latest").resolve() == latest
    assert not find_faults(latest)
    assert not list(full_disk.glob(".draft-*"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(full_disk)], check=True)
    again = run("agar", "run", asset)
    assert again.returncode == 0, again.stderr
    plan = json.loads(run("agar", "plan", "--json").stdout)["assets"]
    assert next(line["state"] for line in plan if line["asset"] == asset) == "fresh"
