"""A home with forty generated plates in the real database, and the real commands, started, stopped and killed there."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from agar_pipeline.store import Key, Store
from tests.acceptance.grading import right
from tests.conftest import BIN, CHECKOUT, DATABASE_IDLE_S, copy_configs, edit_samples
from tests.fiftyone_io.conftest import server
from tests.warm_agar import call_agar

FULL = os.environ.get("AGAR_ACCEPTANCE") == "full"
in_full = pytest.mark.skipif(not FULL, reason="slow, and held in parts by the other tests: `make acceptance`")
ROUNDS = int(os.environ.get("AGAR_CRASH_ROUNDS", "2"))
CHILDREN_DIE_WITHIN_S = 10
PLATES = 40
SIZE_PX = 128
DATA_ASSETS = ("snapshot", "split", "coco_cache", "bbox_report")
TRAINING_ASSETS = ("small/smoke_run", "small/training_run", "small/evaluation")
SERVICES = ("mongod", "agar_pipeline.fiftyone_io.database.mongod_keeper")
"""They outlive their clients on purpose, by seconds."""


@dataclass
class Lab:
    """A home, the configs it is used with, and the photos beside it."""

    folder: Path
    versions: dict[str, str] = field(default_factory=dict)
    """Data versions of an undisturbed run."""
    seconds: float = 0.0
    """What that run took."""
    training_seconds: dict[str, float] = field(default_factory=dict)
    """What smoke run, training and evaluation took, each in a run of its own."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def configs(self) -> Path:
        return self.folder / "configs"

    @property
    def plates(self) -> Path:
        return self.folder / "plates"

    @property
    def store(self) -> Store:
        return Store(self.home)

    @property
    def env(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_"))}
        own = {"AGAR_HOME": str(self.home), "AGAR_CONFIGS": str(self.configs), "AGAR_PIPELINE": "small"}
        return kept | own | {"AGAR_DATABASE_IDLE_S": DATABASE_IDLE_S}

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "agar"), *arguments],
            cwd=CHECKOUT,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str, timeout_s: float = 200, **env: str) -> subprocess.CompletedProcess[str]:
        return call_agar(arguments, self.env | env, CHECKOUT, timeout_s)

    def run(self, *arguments: str, **env: Any) -> str:
        done = self.call(*arguments, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def seconds_of(self, *arguments: str) -> float:
        """What a command takes that is started as a user starts it."""
        started = time.monotonic()
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        return time.monotonic() - started

    def plan(self, **env: Any) -> dict[str, dict[str, Any]]:
        """Asset → its line of `agar plan`, of those that are not fresh."""
        assets = json.loads(self.call("plan", "--json", **env).stdout)["assets"]
        return {asset["asset"]: asset for asset in assets if asset["state"] != "fresh"}

    def open(self, name: str) -> Any:
        return self.store.open_latest(Key(*reversed(name.split("/"))))

    def read_versions(self, names: tuple[str, ...] = DATA_ASSETS) -> dict[str, str]:
        return {name: self.open(name).data_version for name in names}

    def require_same(self, names: tuple[str, ...] = DATA_ASSETS) -> None:
        """Hold what is current to what an undisturbed run made."""
        found = self.read_versions(names)
        right(found == {name: self.versions[name] for name in names}, f"other data versions than undisturbed: {found}")

    def published(self) -> list[Path]:
        return sorted(self.store.published())

    def processes(self) -> list[psutil.Process]:
        """Those that work for this home, but for the database."""
        return [process for process in psutil.process_iter() if _works_for(process, self.home)]

    def edit(self, change: Callable[[Any], Any]) -> Any:
        return edit_samples(self.home, "small", change)

    @contextlib.contextmanager
    def edited(self, change: Callable[[Any], Any]) -> Iterator[None]:
        """The dataset with a change, and as it was afterwards."""
        before = self.edit(lambda samples: list(samples.find()))
        self.edit(change)
        try:
            yield
        finally:
            self.edit(lambda samples: (samples.delete_many({}), samples.insert_many(before)))

    @contextlib.contextmanager
    def pipeline(self, **more: str) -> Iterator[None]:
        """The pipeline file with other top-level keys, each as YAML; `split: …` replaces the line that is there."""
        path = self.configs / "pipeline" / "small.yaml"
        before = path.read_text()
        text = before
        for name, value in more.items():
            text = re.sub(rf"(?m)^{name}:.*\n", "", text) + f"{name}: {value}\n"
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(before)


def _works_for(process: psutil.Process, home: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.environ().get("AGAR_HOME") != str(home):
            return False
        return not any(service in word for word in process.cmdline() for service in SERVICES)
    except psutil.Error:
        return False


def make_lab(folder: Path) -> Lab:
    """A lab whose data assets are built."""
    from agar_pipeline.plates.generate import generate_plates

    lab = Lab(folder)
    copy_configs(lab.configs)
    small = lab.configs / "pipeline" / "small.yaml"
    small.write_text(small.read_text().replace("[small, other]", "[small]"))
    generate_plates(lab.plates, PLATES, SIZE_PX, seed=5)
    lab.run("import", "agar", "--images-dir", str(lab.plates), "--dataset", "small")
    lab.seconds, lab.versions = lab.seconds_of("run", *DATA_ASSETS), lab.read_versions()
    return lab


def train(lab: Lab) -> None:
    """Train three steps, and evaluate."""
    for asset in TRAINING_ASSETS:
        lab.training_seconds[asset] = lab.seconds_of("run", asset)
    lab.run("run")
    lab.versions |= lab.read_versions(TRAINING_ASSETS)


class LabTemplates:
    """A lab is built and trained once. For each file of tests it comes back as it was, in the same place."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._kept = folder, dict[str, Lab]()

    def built(self) -> Lab:
        if "built" not in self._kept:
            self._keep("built", make_lab(self._folder / "lab"))
        return self._bring_back("built")

    def trained(self) -> Lab:
        if "trained" not in self._kept:
            lab = self.built()
            train(lab)
            self._keep("trained", lab)
        return self._bring_back("trained")

    def remove(self) -> None:
        """Remove the lab that is in use."""
        _stop_database(self._folder / "lab" / "home")
        shutil.rmtree(self._folder / "lab", ignore_errors=True)

    def _keep(self, name: str, lab: Lab) -> None:
        _stop_database(lab.home)
        shutil.copytree(lab.folder, self._folder / name, symlinks=True)
        self._kept[name] = copy.deepcopy(lab)

    def _bring_back(self, name: str) -> Lab:
        self.remove()
        lab = copy.deepcopy(self._kept[name])
        shutil.copytree(self._folder / name, lab.folder, symlinks=True)
        return lab


def _stop_database(home: Path) -> None:
    """End the keeper now rather than after its idle time, and mongod with it, which leaves whole files."""
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        keeper = psutil.Process(server(home)["keeper_pid"])
        keeper.terminate()
        keeper.wait(30)


def copy_home(lab: Lab, folder: Path) -> Lab:
    """The same artifacts, Dagster's memory of them and the photos in another place, with a database of their own."""
    skip = shutil.ignore_patterns("server.json", "mongod.lock", "*.sock", "tmp")
    shutil.copytree(lab.folder, folder, symlinks=True, ignore=skip)
    return Lab(folder, dict(lab.versions), lab.seconds)


def wait_until(is_so: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def mount(folder: Path, *how: str) -> None:
    done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
