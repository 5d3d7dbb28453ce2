"""Trouble with the disk, the user or the shell, met anywhere, is one message with the next step."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from agar_pipeline import commands
from agar_pipeline.commands.import_words import _next_step
from agar_pipeline.commands.pipelines import pipeline_named
from agar_pipeline.config import agar_home, default_home
from agar_pipeline.errors import ConfigError, StorageError
from agar_pipeline.fiftyone_io.database import settings
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.files import storage_errors
from agar_pipeline.files.file_system import sqlite_trouble
from agar_pipeline.processes.environment import child_environment
from agar_pipeline.text.safe_text import as_command
from tests.other_user import NOBODY


def full(path: Path) -> None:
    """As on a disk that takes no more pages."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x BLOB)")
        connection.execute("PRAGMA max_page_count = 4")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def read_only(path: Path) -> None:
    sqlite3.connect(path).execute("CREATE TABLE t (x)")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")


def not_to_be_opened(path: Path) -> None:
    sqlite3.connect(path / "no such folder" / "x.db").execute("SELECT 1")


def by_sqlalchemy(path: Path) -> None:
    """As Dagster meets it."""
    sqlite3.connect(path).execute("CREATE TABLE t (x)")
    with create_engine(f"sqlite:///file:{path}?mode=ro&uri=true").begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))


def by_torch(path: Path) -> None:
    raise RuntimeError(
        "[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed writing file data/1: file"
    )


TROUBLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "SQLite on a full disk": (full, "cannot be written, because no space is left"),
    "SQLite on a file that others own": (read_only, "attempt to write a readonly database"),
    "SQLite in a folder that is not there": (not_to_be_opened, "unable to open database file"),
    "Dagster's storage": (by_sqlalchemy, "attempt to write a readonly database"),
    "a checkpoint on a full disk": (by_torch, "cannot be written, because no space is left"),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_storage_trouble_in_any_library_is_told_with_the_next_step(tmp_path: Path, case: str) -> None:
    meet, words = TROUBLES[case]
    with pytest.raises(Exception) as met:  # noqa: PT011 - of any library
        meet(tmp_path / "x.db")
    told = commands._in_words(met.value)
    assert isinstance(told, StorageError)
    assert words in str(told)
    assert "set AGAR_HOME" in str(told)
    assert len(str(told).splitlines()) == 2
    if isinstance(met.value, sqlite3.Error):
        assert words in str(sqlite_trouble(tmp_path / "x.db", met.value))
        with pytest.raises(StorageError, match=words), storage_errors.clear_storage_errors(tmp_path):
            raise met.value


def test_a_full_disk_is_told_of_and_ends_no_process(tmp_path: Path) -> None:
    """A page of a mapped file that the disk only promised ends whoever writes it with SIGBUS."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        with contextlib.suppress(OSError), (tmp_path / "fill").open("wb") as stream:
            stream.write(bytes(1_000_000))
        look = f"import pathlib, agar_pipeline.files.file_system as f; f.doubt(pathlib.Path({str(tmp_path)!r}))"
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
        assert done.returncode == 1
        assert f"StorageError: {tmp_path} cannot be written, because no space is left" in done.stderr
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_home_of_another_user_is_told_with_its_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(tmp_path, NOBODY, NOBODY)
    told = storage_errors.storage_error(OSError(errno.EACCES, "Permission denied", str(tmp_path / "x")), tmp_path)
    assert f"{tmp_path} belongs to {pwd.getpwuid(NOBODY).pw_name}" in str(told)


def test_what_a_shell_was_left_with_does_not_reach_children(monkeypatch: pytest.MonkeyPatch) -> None:
    left = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")
    for name in (*left, "TORCH_HOME"):
        monkeypatch.setenv(name, "2")
    assert child_environment().keys() & {*left, "TORCH_HOME"} == {"TORCH_HOME"}


def test_a_user_without_a_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("FIFTYONE_DATABASE_DIR", raising=False)

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert default_home().is_absolute()
    assert settings.database_dir().is_absolute()
    monkeypatch.setenv("AGAR_HOME", "~/agar")
    with pytest.raises(ConfigError, match="~/agar cannot be expanded, because this user has no home folder\nset HOME"):
        agar_home()


def test_warnings_are_no_errors_whatever_the_shell_says() -> None:
    code = "import warnings; from agar_pipeline.commands import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "warnings.warn('old', DeprecationWarning); warnings.warn('odd', UserWarning)"
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr, "odd" in done.stderr) == (0, False, True), done.stderr


@pytest.mark.parametrize("dataset", ["lab/plates 2", "../x", "Pläne", "demo", "--help"])
def test_a_proposed_pipeline_is_one_that_can_be_written(dataset: str) -> None:
    told = _next_step(dataset, "embedded", ImportCounts(added=1, classes={"E. coli": 3}), None)
    name = re.search(r"import again with --pipeline (\S+)\), then AGAR_PIPELINE=(\S+) agar run", told)
    assert name is not None
    assert name[1] == name[2]
    assert pipeline_named(name[1], dataset) is None, "there is no such file yet, and it can be made"
    assert "class_map" not in _next_step(dataset, "embedded", ImportCounts(added=1), None), "nothing to map"


def test_a_proposed_command_is_one_a_shell_reads() -> None:
    words = ["agar", "predict", "--checkpoint", "a b/$x'\"é.ckpt"]
    line = as_command(*words)
    shown = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True).stdout
    assert shown.splitlines() == words
