"""`agar init`: a lab's own project, and which folder commands use the configs of."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from agar_pipeline.config import places
from agar_pipeline.config.places import CHECKOUT, PACKAGED, PROJECT_MARKER, find_project
from agar_pipeline.errors import ConfigError, StorageError
from agar_pipeline.use_cases.project import create_project
from tests.conftest import BIN


def test_a_project_has_the_configs_of_the_checkout_and_files_for_dagster(tmp_path: Path) -> None:
    done = create_project(tmp_path / "lab")
    there = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "configs").rglob("*.yaml")}
    assert {name for name in done.written if name.startswith("configs/")} == there
    for name in ("dagster.yaml", "workspace.yaml"):
        assert (tmp_path / "lab" / name).read_text() == (CHECKOUT / name).read_text()
    assert (tmp_path / "lab" / "README.md").read_text().startswith("# lab\n")
    assert (tmp_path / "lab" / "requirements.txt").read_text().startswith("agar_pipeline[all]==")
    assert json.loads((tmp_path / "lab" / PROJECT_MARKER).read_text())["made_by"] == "agar_pipeline"
    assert done.written[-1] == PROJECT_MARKER, "a folder is a project when all else is there"


def test_what_is_there_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    create_project(tmp_path)
    (tmp_path / "configs" / "pipeline" / "demo.yaml").write_text("# mine\n")
    (tmp_path / "configs" / "trainer" / "default.yaml").unlink()
    done = create_project(tmp_path)
    assert done.kept == ["configs/pipeline/demo.yaml"]
    assert done.written == ["configs/trainer/default.yaml"]
    assert (tmp_path / "configs" / "pipeline" / "demo.yaml").read_text() == "# mine\n"


def test_a_file_or_a_folder_of_everybody_is_no_place_for_a_project(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file is not a folder"):
        create_project(tmp_path / "file")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    with pytest.raises(StorageError, match="can be written by every user"):
        create_project(tmp_path / "open")


def test_commands_use_the_nearest_project_above_them_else_the_checkout(tmp_path: Path) -> None:
    assert find_project(tmp_path) == CHECKOUT
    create_project(tmp_path / "lab")
    assert find_project(tmp_path / "lab") == tmp_path / "lab"
    (tmp_path / "lab" / "photos" / "today").mkdir(parents=True)
    assert find_project(tmp_path / "lab" / "photos" / "today") == tmp_path / "lab"
    assert find_project(tmp_path) == CHECKOUT
    (tmp_path / "lab").chmod(0o777)
    assert find_project(tmp_path / "lab" / "photos") == CHECKOUT, "anybody could have put the marker there"


def test_without_a_project_the_packages_configs_are_read_and_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGAR_CONFIGS", raising=False)
    monkeypatch.setattr(places, "PROJECT", None)
    assert places.configs_dir() == PACKAGED / "configs"
    assert yaml.safe_load((PACKAGED / "configs" / "trainer" / "default.yaml").read_text())["devices"] == 1
    with pytest.raises(ConfigError, match="agar init FOLDER"):
        places.own_configs_dir()
    assert places.default_home().name in ("home", ".agar")


def test_the_command_makes_a_project_with_a_home_of_its_own(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGAR_", "DAGSTER_"))}
    env |= {"XDG_DATA_HOME": str(tmp_path / "data"), "AGAR_PIPELINE": "coco_folder"}

    def agar(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(BIN / "agar"), *words], cwd=cwd, env=env, capture_output=True, text=True)

    done = agar("init", "lab", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "files written to lab, for you to edit" in done.stdout
    pipeline = tmp_path / "lab" / "configs" / "pipeline" / "coco_folder.yaml"
    pipeline.write_text(pipeline.read_text().replace("experiments: [baseline]", "experiments: [tiny_steps]"))
    planned = agar("plan", cwd=tmp_path / "lab" / "configs")
    assert "tiny_steps/training_run" in planned.stdout, planned.stderr
    (home,) = (tmp_path / "data" / "agar_pipeline").iterdir()
    assert home.name.startswith("lab-")
    assert (tmp_path / "lab" / ".agar").resolve() == home
    assert agar("init", "lab", cwd=tmp_path).stdout == "nothing to do\n", "but for the file that was edited"
