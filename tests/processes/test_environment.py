"""Where an address with a password may stand, and which processes are given it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agar_pipeline.commands.database_options import require_no_password
from agar_pipeline.config import SnapshotConfig, agar_home, database_address, load_experiment, load_pipeline
from agar_pipeline.errors import ConfigError, DatabaseError
from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.processes.environment import child_environment, worker_environment
from agar_pipeline.text.secrets import mask_error
from tests.conftest import copy_configs

ADDRESS = "mongodb://lab:p%40ss@127.0.0.1:1"
SECRET = {
    "AGAR_STORE": "s3://key:hidden@bucket",
    "AGAR_STORE_KEY_FILE": "/lab/key",
    "AGAR_DATABASE_URI": ADDRESS,
    "AGAR_DAGSTER_POSTGRES_URL": "postgresql+psycopg2://lab:hidden@db/agar",
    "AWS_SECRET_ACCESS_KEY": "hidden",
    "FIFTYONE_DATABASE_URI": ADDRESS,
    "HF_TOKEN": "hidden",
    "HTTPS_PROXY": "http://me:hidden@proxy:80",
    "MLFLOW_TRACKING_PASSWORD": "hidden",
    "RAY_AUTH_TOKEN": "hidden",
    "SOMETHING": "of the user's",
}
PLAIN = {"AGAR_HOME": "/home/agar", "AGAR_PIPELINE": "small", "CUDA_VISIBLE_DEVICES": "0", "NCCL_DEBUG": "INFO"}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRET, **PLAIN}.items():
        monkeypatch.setenv(name, value)


def test_children_get_what_computing_needs_and_no_secret(variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given = child_environment()
    assert not given.keys() & SECRET.keys()
    assert given.items() >= PLAIN.items()
    assert given["PATH"] == os.environ["PATH"]
    needs = ("FIFTYONE_DATABASE_URI",)
    assert child_environment(needs).keys() & SECRET.keys() == {*needs}, "a child that uses it is given it"
    worker = worker_environment()
    assert {name for name in worker if not name.startswith("AGAR_DATABASE_IDLE")} == {"AGAR_HOME", "AGAR_PIPELINE"}
    assert worker["AGAR_HOME"] == str(agar_home())
    monkeypatch.setenv("AGAR_CHILD_VARIABLES", "SOMETHING, HF_TOKEN")
    named = {"SOMETHING", "HF_TOKEN"}
    assert child_environment().keys() & SECRET.keys() == worker_environment().keys() & SECRET.keys() == named


def test_an_address_is_read_from_a_variable_or_a_file_of_ones_own(
    variables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database_address("env:AGAR_DATABASE_URI") == ADDRESS
    path = tmp_path / "address"
    path.touch(mode=0o600)
    path.write_text(f"{ADDRESS}\n")
    assert database_address(f"file:{path}") == ADDRESS
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=f"{path} can be read or changed by other users\nrun `chmod 600 {path}`"):
        database_address(f"file:{path}")
    with pytest.raises(ConfigError, match="cannot be read"):
        database_address(f"file:{tmp_path}/no-such")
    monkeypatch.delenv("AGAR_DATABASE_URI")
    with pytest.raises(ConfigError, match="reads the variable AGAR_DATABASE_URI, which is not set\nset it"):
        database_address("env:AGAR_DATABASE_URI")


def test_the_address_behind_a_variable_is_used_and_not_shown(variables: None, tmp_path: Path) -> None:
    config = SnapshotConfig(dataset="plates", database="env:AGAR_DATABASE_URI")
    assert "env:AGAR_DATABASE_URI" in config.describe()
    with (
        pytest.raises(
            DatabaseError, match=r"mongodb://127\.0\.0\.1:1 cannot be reached, because nothing listens there"
        ),
        open_database(config.database, tmp_path),
    ):
        pass


@pytest.mark.parametrize("database", [ADDRESS, "mongodb://lab:p@ss/wo#rd@db", "mongodb://db/?password=x"])
def test_no_shared_file_and_no_override_may_hold_a_password(
    database: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGAR_CONFIGS", str(copy_configs(tmp_path / "configs")))
    path = tmp_path / "configs" / "pipeline" / "small.yaml"
    path.write_text(path.read_text().replace("{dataset: small}", f"{{dataset: small, database: '{database}'}}"))
    with pytest.raises(ConfigError, match=r"snapshot\.database holds a password") as caught:
        load_pipeline("small")
    assert database not in str(caught.value)
    assert not list((home / "composed").glob("*")), "nor is it remembered"
    with pytest.raises(ConfigError, match="holds a password"):
        load_experiment("small", [f'model.weights="{database}"'])
    path.write_text(path.read_text().replace(database, "mongodb://reader@db:27017"))
    assert load_pipeline("small").database == "mongodb://reader@db:27017", "a name alone is no secret"
    path.write_text(path.read_text().replace("{dataset: small,", "{dataset: small, view: 'field:pass=token=3',"))
    assert load_pipeline("small").fiftyone_snapshot.view == "field:pass=token=3", "nor is a field of a sample"


def test_a_password_on_the_command_line_is_told_of_and_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    require_no_password(ADDRESS)
    assert "which `ps` shows" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--database env:AGAR_DATABASE_URI"):
        require_no_password(ADDRESS, "lab")
    require_no_password("env:AGAR_DATABASE_URI", "lab")
    require_no_password("mongodb://reader@db", "lab")
    assert capsys.readouterr().err == ""


def test_a_traceback_shows_no_password(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from agar_pipeline import commands

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    assert CliRunner().invoke(commands.agar, ["--help"]).exit_code == 0
    with pytest.raises(SystemExit):
        commands.main(["--help"])
    capsys.readouterr()
    error = RuntimeError("a bug")
    error.__cause__ = ValueError(f"cannot parse mongodb://lab:p@ss/wo#rd@db\nnor {SECRET['AGAR_DAGSTER_POSTGRES_URL']}")
    sys.excepthook(type(error), error, None)
    shown = capsys.readouterr().err
    assert "RuntimeError: a bug" in shown
    assert "cannot parse mongodb://db\nnor postgresql+psycopg2://db/agar" in shown
    assert str(mask_error(error).__cause__) == "cannot parse mongodb://db\nnor postgresql+psycopg2://db/agar"


@pytest.mark.parametrize("password", ["p@ss", "pa#ss@"])  # a slash or a colon can be parsed
def test_an_address_of_postgres_that_cannot_be_parsed_is_refused_without_its_password(
    password: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agar_pipeline.defs.instance import dagster_home

    monkeypatch.setenv("DAGSTER_HOME", os.environ.get("DAGSTER_HOME", ""))
    monkeypatch.setenv("AGAR_DAGSTER_POSTGRES_URL", f"postgresql+psycopg2://agar:{password}@db/agar")
    with pytest.raises(ConfigError, match="AGAR_DAGSTER_POSTGRES_URL cannot be parsed") as caught:
        dagster_home()
    assert password not in str(caught.value)
