"""`agar launch-check`: what would stop a training is found before it, each with a fix."""

from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agar_pipeline.commands import agar
from agar_pipeline.config import TrainerConfig
from agar_pipeline.errors import ComputeError
from agar_pipeline.preflight import require_ready
from agar_pipeline.preflight.devices import check_ranks
from agar_pipeline.preflight.machine import check_storage
from agar_pipeline.processes import devices


def test_launch_check_looks_at_everything_and_starts_as_many_ranks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_PIPELINE", "demo")
    answer = CliRunner().invoke(agar, ["launch-check", "--devices", "2", "--accelerator", "cpu", "--json"])
    assert answer.exit_code == 0, answer.output
    plain = json.loads(answer.stdout)
    assert plain["ok"]
    names = {check["name"] for check in plain["checks"]}
    wanted = {"/dev/shm", "TMPDIR", "home", "locks", "open files", "mAP", "packages", "devices", "ranks", "database"}
    assert wanted <= names
    ranks = next(check for check in plain["checks"] if check["name"] == "ranks")
    assert "2 ranks sum 16 MB" in ranks["found"]
    assert "by gloo over lo" in ranks["found"]


def test_too_many_devices_fail_with_a_fix_and_no_rank_is_started(home: Path) -> None:
    many = str(devices.count_cores() + 1)
    answer = CliRunner().invoke(agar, ["launch-check", "--devices", many, "--accelerator", "cpu"])
    assert answer.exit_code == 1
    assert f"FAIL  devices     trainer.devices={many} is more than this machine" in answer.output
    assert "→" in answer.output
    with pytest.raises(ComputeError, match=r"the launch-check of devices fails: trainer\.devices="):
        require_ready(TrainerConfig(max_steps=1, devices=int(many), accelerator="cpu"), home, print)


def test_a_gpu_that_torch_cannot_use_fails_rather_than_train_on_the_cpu(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    checks = {check.name: check for check in check_ranks(TrainerConfig(max_steps=1), home, print)}
    assert checks["ranks"].level == "FAIL"
    assert "there are CUDA devices, but torch" in checks["ranks"].found


def test_a_file_system_without_locks_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    locks = [check for check in check_storage(tmp_path) if check.name == "locks"]
    assert [check.level for check in locks] == ["FAIL"]
    assert "set AGAR_HOME to a local disk" in locks[0].fix
