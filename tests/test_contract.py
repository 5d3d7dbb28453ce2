"""What users, CI and other programs rely on: commands, files at the top level, asset keys."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet

from agar_pipeline.commands import COMMANDS, agar
from agar_pipeline.config.box_policy import ImageChecks, UnlabelledPolicy
from agar_pipeline.config.media import Media
from agar_pipeline.config.snapshot import ExifPolicy
from agar_pipeline.config.split import SplitMethod
from agar_pipeline.config.trainer import Accelerator
from docs.generate import commands_of
from tests.conftest import BIN, CHECKOUT, runner

run = runner({})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_one_example(name: str) -> None:
    answer = CliRunner().invoke(agar, [name, "--help"])
    assert answer.exit_code == 0
    assert answer.output.count(f"Example: agar {name}") + answer.output.count('Example: eval "$(agar env)"') == 1


CHOICES: dict[str, Any] = {
    "accelerator": Accelerator,
    "depth": ImageChecks,
    "exif": ExifPolicy,
    "media": Media,
    "split_method": SplitMethod,
    "unlabelled": UnlabelledPolicy,
}


def test_options_offer_what_the_configs_accept() -> None:
    """The commands repeat these words, because importing the configs would take half a second of each `--help`."""
    offered = {
        (" ".join(path), option.name, frozenset(option.type.choices))
        for path, command in commands_of(agar, ("agar",))
        for option in command.params
        if isinstance(option.type, click.Choice) and option.name != "cfg"
    }
    for path, name, choices in offered:
        assert choices == {*get_args(CHOICES[name])} - {"given"}, f"{path} --{name}"  # `given` is for COCO files alone
    assert {name for _, name, _ in offered} == set(CHOICES)


def test_wrong_usage_is_2_and_tells_the_next_step() -> None:
    done = run("agar", "train")
    assert done.returncode == 2
    assert "experiment=NAME; there are: baseline" in done.stderr
    done = run("agar", "train", "experiment=nope")
    assert done.returncode == 2
    assert "choose one of baseline" in done.stderr
    assert run("agar", "nonsense").returncode == 2


def test_an_error_is_three_lines_at_most_and_a_traceback_only_on_demand(tmp_path: Path) -> None:
    home = {"AGAR_HOME": str(tmp_path)}
    short = run("agar", "train", "experiment=demo", **home)
    assert short.returncode == 1
    assert short.stderr.startswith("error: coco_cache was never built")
    assert len(short.stderr.strip().splitlines()) <= 3
    assert "Traceback" in run("agar", "--debug", "train", "experiment=demo", **home).stderr


def test_a_reader_that_has_seen_enough_ends_a_command_quietly() -> None:
    command = [str(BIN / "agar"), "train", "experiment=demo", "--cfg", "job"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 128 + signal.SIGPIPE


def test_colours_are_for_terminals_and_off_with_no_color(tmp_path: Path) -> None:
    for given, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        env |= {"AGAR_HOME": str(tmp_path), **given}
        master, terminal = os.openpty()
        done = subprocess.Popen([str(BIN / "agar"), "launch-check"], cwd=CHECKOUT, env=env, stdout=terminal, text=True)
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal that nobody writes to any more ends
            while chunk := os.read(master, 4096):
                shown += chunk
        os.close(master)
        assert done.wait() in (0, 1)
        assert b"OK" in shown
        assert (b"\x1b[3" in shown) is coloured, shown


def test_train_prints_the_composed_config() -> None:
    done = run("agar", "train", "experiment=tiny_steps", "model.score_floor=0.1", "--cfg", "job")
    assert done.returncode == 0
    config = yaml.safe_load(done.stdout)
    assert config["trainer"]["max_steps"] == 5
    assert config["model"]["score_floor"] == 0.1
    assert config["trainer"]["devices"] == 1


def test_workspace_and_pyproject_name_the_same_definitions() -> None:
    (place,) = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"]
    assert place["python_module"]["module_name"] == "agar_pipeline.definitions"
    assert 'module_name = "agar_pipeline.definitions"' in (CHECKOUT / "pyproject.toml").read_text()


def test_the_home_has_the_storage_that_the_checkout_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agar_pipeline.defs.instance import dagster_home

    monkeypatch.setenv("DAGSTER_HOME", os.environ.get("DAGSTER_HOME", ""))
    checkout = (CHECKOUT / "dagster.yaml").read_text().replace(".agar", str(home))
    assert yaml.safe_load((dagster_home() / "dagster.yaml").read_text()) == yaml.safe_load(checkout)


def test_asset_keys_and_groups() -> None:
    from agar_pipeline.definitions import assemble

    specs = {spec.key.to_user_string(): spec.group_name for spec in assemble().resolve_all_asset_specs()}
    assert specs == {
        "fiftyone_dataset": "data",
        "snapshot": "data",
        "split": "data",
        "coco_cache": "data",
        "bbox_report": "data",
        "demo/smoke_run": "demo",
        "demo/training_run": "demo",
        "demo/evaluation": "demo",
        "demo/label_review": "demo",
        "leaderboard": "data",
    }


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-cluster.lock"])
def test_the_lock_file_is_exact_hashed_and_names_no_host(lock: str) -> None:
    """pip refuses a file whose hash is not here, whatever index or mirror it comes from."""
    text = (CHECKOUT / lock).read_text()
    pins = re.findall(r"^(\S.*?)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert len(pins) > 100
    assert text == "".join(f"{pin}{hashes}\n" for pin, hashes in pins), (
        "every pin has hashes, and nothing else is there"
    )
    assert all("==" in pin and "://" not in pin for pin, _ in pins)
    for file, pattern in ((".ci/install", r"pip install .*"), ("deploy/Dockerfile", r"pip install .*\.lock")):
        installs = re.findall(pattern, (CHECKOUT / file).read_text())
        assert installs
        assert all("--require-hashes" in line for line in installs)


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_each_python_can_install_the_lock(python: str) -> None:
    """Debian's are 3.11.2 and 3.13.5, and pip refuses a package that wants a later one after minutes of downloads."""
    wanted = {dist.metadata["Name"]: dist.metadata["Requires-Python"] for dist in importlib.metadata.distributions()}
    assert len(wanted) > 100
    assert not {name: limits for name, limits in wanted.items() if limits and python not in SpecifierSet(limits)}


def test_the_locks_agree_and_only_one_has_tools_of_developers() -> None:
    locks = {}
    for lock in ("requirements.lock", "requirements-dev.lock", "requirements-cluster.lock"):
        locks[lock] = dict(re.findall(r"^(\S+)==(\S+)", (CHECKOUT / lock).read_text(), re.MULTILINE))
    base, dev, cluster = locks.values()
    assert base.items() <= dev.items()
    assert base.items() <= cluster.items()
    assert dev.items() & cluster.items() >= {name: dev[name] for name in dev.keys() & cluster.keys()}.items()
    assert {"pytest", "ruff", "mypy", "mkdocs", "moto"} <= dev.keys() - cluster.keys()


def test_each_release_candidate_says_what_it_waits_for() -> None:
    lines = (CHECKOUT / "pyproject.toml").read_text().splitlines()
    candidates = [line for line in lines if re.match(r'\s*"[\w-]+>=[\w.]*\drc\d', line)]
    assert len(candidates) == 2
    note = "\n".join(lines[: lines.index(candidates[0])]).rpartition('",')[2]
    assert "wait for 1.4.0" in note
