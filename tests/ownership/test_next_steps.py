"""A next step that we print, followed to the letter, loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from agar_pipeline.commands import agar
from agar_pipeline.errors import StorageError
from agar_pipeline.history.photo_history import _sha256
from agar_pipeline.ownership import home_place
from agar_pipeline.preflight import machine


def test_no_message_deletes_a_dataset_with_another_program() -> None:
    """FiftyOne's own command acts on the user's own database, whichever one the message is about."""
    package = Path(machine.__file__).parent.parent
    assert not [path for path in package.rglob("*.py") if "fiftyone datasets delete" in path.read_text()]


def test_an_old_home_is_not_moved_into_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "checkout" / ".agar", tmp_path / "data" / "home"
    old.mkdir(parents=True)
    monkeypatch.setattr(home_place, "PROJECT", old.parent)
    for name, value in {"HOME_LINK": old, "default_home": lambda: new}.items():
        monkeypatch.setattr(machine, name, value)
    assert f"mv {old} {new}" in machine._check_place(old).fix
    new.mkdir(parents=True)
    assert "mv" not in machine._check_place(old).fix
    assert f"{new} exists already" in machine._check_place(old).fix


def test_a_backup_that_is_not_there_is_said_before_a_home_is_made(home: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(agar, ["backup", "--restore", str(tmp_path / "nothing")])
    assert isinstance(done.exception, StorageError)
    assert "there is no backup to restore" in str(done.exception)
    assert not home.exists()


def test_a_photo_that_was_missing_has_no_hash() -> None:
    assert _sha256(pd.Series({"sha256": np.nan})) is None
    assert _sha256(pd.Series({"sha256": "ab"})) == "ab"
