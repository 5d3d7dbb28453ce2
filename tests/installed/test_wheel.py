"""What `pip install agar_pipeline` alone can do, with each Python; and a lab's project with all extras.

Not part of `make test`: `make test-pythons`. A Python that is not on this machine is skipped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from agar_pipeline.errors import EXTRAS
from tests.coco_home import make_home
from tests.dagster_server import wait_for
from tests.installed.conftest import PYTHONS, Install, Installed

IMPORT_ALL = """
import importlib, pkgutil, sys, warnings
warnings.filterwarnings("error", module="agar_pipeline")
import agar_pipeline
for found in pkgutil.walk_packages(agar_pipeline.__path__, "agar_pipeline.", onerror=lambda name: None):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            print(error.name.partition(".")[0])
"""
"""Prints the modules that are not installed. A warning of a deprecated feature that we use is an error."""


@pytest.fixture(scope="module", params=PYTHONS)
def base(request: pytest.FixtureRequest, install: Install) -> Installed:
    return install(request.param, "")


def test_the_base_is_whole_and_has_no_server(base: Installed) -> None:
    done = base.run("python", "-m", "pip", "check")
    assert done.returncode == 0, done.stdout
    packages = {p["name"] for p in json.loads(base.run("python", "-m", "pip", "list", "--format", "json").stdout)}
    assert not packages & {"dagster", "fiftyone", "pymongo", "mlflow-skinny", "onnxruntime", "starlette", "pytest"}
    print(f"{base.bin}: installed in {base.install_s:.0f} s")


def test_every_module_loads_or_lacks_an_extra_and_nothing_is_deprecated(base: Installed) -> None:
    done = base.run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= EXTRAS.keys()


def test_the_base_trains_from_a_coco_cache_counts_a_plate_scores_and_inspects(base: Installed, tmp_path: Path) -> None:
    _, home = make_home(tmp_path)
    images, coco = tmp_path / "images", home / "artifacts" / "coco_cache" / "latest" / "coco" / "val.json"
    env = {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(tmp_path / "configs")}
    trained = base.run("agar", "train", "experiment=small", env=env)
    assert trained.returncode == 0, trained.stderr
    checkpoint = trained.stdout.split()[-1]
    assert Path(checkpoint).is_file()
    counted = base.run("agar", "predict", "--checkpoint", checkpoint, str(images / "1.jpg"), "--out-dir", "counted")
    assert counted.returncode == 0, counted.stderr
    assert (base.folder / "counted" / "counts.csv").is_file()
    words = ["--checkpoint", checkpoint, "--json", str(coco), "--images-dir", str(images), "--out-dir", "scores"]
    scored = base.run("agar", "evaluate", *words)
    assert scored.returncode == 0, scored.stderr
    assert "map" in json.loads((base.folder / "scores" / "metrics.json").read_text())
    inspected = base.run("agar", "inspect-coco", "--json", str(coco), "--images-dir", str(images), "--check-all")
    assert inspected.returncode == 0, inspected.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("demo", "dagster,fiftyone"),
        ("run", "dagster"),
        ("ui", "dagster"),
        ("env", "dagster"),
        ("plan", "fiftyone"),
        ("import agar --images-dir . --dataset plates", "fiftyone"),
        ("export-coco --dataset plates --out-dir coco", "fiftyone"),
        ("view", "fiftyone"),
        ("backup saved.agar", "fiftyone"),
        ("restore 1234 --dataset plates", "fiftyone"),
        ("export-model --checkpoint best.ckpt --out M.onnx", "export"),
        ("predict --model M.onnx .", "export"),
    ],
)
def test_what_needs_an_extra_names_it_before_anything_is_written(base: Installed, command: str, extra: str) -> None:
    before = sorted(base.folder.iterdir())
    (base.folder / "plate.jpg").touch()
    done = base.run("agar", *command.split())
    (base.folder / "plate.jpg").unlink()
    assert done.returncode == 1, done.stderr
    quoted = f"'agar_pipeline[{extra}]'"
    assert done.stderr.splitlines()[1:] == [f"pip install {quoted}"], done.stderr
    assert sorted(base.folder.iterdir()) in (before, sorted({*before, base.folder / "data"}))


def test_mlflow_is_asked_for_before_a_training_begins(base: Installed, tmp_path: Path) -> None:
    _, home = make_home(tmp_path)
    env = {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(tmp_path / "configs")}
    done = base.run("agar", "train", "experiment=small", "trainer.logger=mlflow", env=env)
    assert done.returncode == 1
    assert "pip install 'agar_pipeline[tracking]'" in done.stderr
    assert not list((home / "artifacts").glob("small/*/*/manifest.json"))


@pytest.fixture(scope="module")
def lab(install: Install) -> tuple[Installed, Path]:
    """A project with generated plates, of a user who has all extras and the newest Python of this machine."""
    from agar_pipeline.plates.generate import generate_plates
    from tests.installed.conftest import find_python

    newest = next(version for version in reversed(PYTHONS) if find_python(version))
    full = install(newest, "[all]")
    assert full.run("agar", "init", "lab").returncode == 0
    folder = full.folder / "lab"
    generate_plates(folder / "photos", 12, size_px=128, seed=5)
    steps = "defaults: [override /trainer: cpu_minute]\ntrainer: {max_seconds: null, max_steps: 3}\n"
    (folder / "configs" / "experiment" / "plates.yaml").write_text(f"# @package _global_\n{steps}")
    return full, folder


def test_a_lab_works_in_its_own_project_with_agar_and_with_dagster(lab: tuple[Installed, Path]) -> None:
    full, folder = lab
    words = ["agar", "--images-dir", "photos", "--dataset", "plates", "--pipeline", "plates"]
    imported = full.run("agar", "import", *words, cwd=folder)
    assert imported.returncode == 0, imported.stderr
    env = {"AGAR_PIPELINE": "plates"}
    assert full.run("agar", "run", "snapshot", cwd=folder, env=env).returncode == 0
    words = ["asset", "materialize", "-m", "agar_pipeline.definitions", "--select", "*"]
    done = full.run("dagster", *words, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    planned = full.run("agar", "plan", cwd=folder / "configs", env=env)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert (folder / ".agar").resolve().is_relative_to(full.folder / "data")
    assert {path.name for path in folder.iterdir()} <= {
        *("agar-project.json", "configs", "dagster.yaml", "workspace.yaml", "README.md", "requirements.txt"),
        *(".gitignore", ".agar", "photos"),
    }


def test_dagster_dev_serves_the_labs_assets_with_no_variable_set(lab: tuple[Installed, Path]) -> None:
    full, folder = lab
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_", "PYTHON"))}
    env |= {"XDG_DATA_HOME": str(full.folder / "data"), "PATH": f"{full.bin}:{os.environ['PATH']}"}
    with (full.folder / "dev.log").open("w+") as log:
        process = subprocess.Popen(
            [str(full.bin / "dagster"), "dev", "--port", str(port)], cwd=folder, env=env, stdout=log, stderr=log
        )
        try:
            asked = b'{"query": "{ assetNodes { assetKey { path } } }"}'
            answer: list[str] = []

            def answers() -> bool:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/graphql", data=asked, headers={"content-type": "application/json"}
                )
                try:
                    with urllib.request.urlopen(request, timeout=20) as reply:
                        answer[:] = ["/".join(n["assetKey"]["path"]) for n in json.load(reply)["data"]["assetNodes"]]
                except OSError:
                    return False
                return bool(answer)

            wait_for(answers, 120, lambda: Path(log.name).read_text()[-3000:])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert {"snapshot", "coco_cache", "demo/training_run", "leaderboard"} <= set(answer)
