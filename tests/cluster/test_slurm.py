"""What docs/how-to/slurm.md says, on a Slurm of our own on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agar_pipeline.store import Key, Store
from tests.cluster.processes import free_port
from tests.coco_home import make_home
from tests.conftest import BIN, CHECKOUT
from tests.docs.pages import Reader
from tests.processes.test_gpu_leases import SAME, losses

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PATH = f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin"
PAGE = CHECKOUT / "docs" / "how-to" / "slurm.md"
CONFIG = """\
ClusterName=agar
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=2
PartitionName=all Nodes=node1 Default=YES State=UP
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment that leads to it."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Slurm (apt-get install slurm-wlm); not here: {', '.join(missing) or 'root'}")
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ports = dict(zip(("controller", "node"), (free_port() for _ in range(2)), strict=True))
        (folder / "slurm.conf").write_text(CONFIG.format(host=socket.gethostname(), folder=folder, **ports))
        (folder / "state").mkdir()
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
        places = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid"}
        places |= {"log-file": folder / "munge.log", "seed-file": folder / "seed"}
        daemons = [["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in places.items())]]
        daemons += [["slurmctld", "-D"], ["slurmd", "-D", "-N", "node1"]]
        with contextlib.ExitStack() as running:
            for number, command in enumerate(daemons):
                running.enter_context(_daemon(command, env, folder / f"output-{number}"))
                time.sleep(1)
            _wait_for_node(env, folder)
            yield env


@contextlib.contextmanager
def _daemon(command: list[str], env: dict[str, str], output: Path) -> Iterator[None]:
    with output.open("wb") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for_node(env: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = subprocess.run(["sinfo", "--noheader", "--format=%D %t"], env=env, capture_output=True, text=True)
        if seen.stdout.strip() == "1 idle":
            return
        time.sleep(0.5)
    said = "\n".join(path.read_text() for path in sorted(folder.glob("output-*")))
    raise AssertionError(f"Slurm does not come up: {seen.stdout}{seen.stderr}\n{said[-3000:]}")


def script_of_the_page() -> str:
    script = re.search(r"```bash\n(#!/bin/bash\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert script is not None
    return script[1].replace("#SBATCH --gpus-per-node=2\n", "")  # there are none here


def test_the_script_of_the_page_trains_what_two_ranks_do_without_slurm(slurm: dict[str, str], tmp_path: Path) -> None:
    run, home = make_home(tmp_path, train=7)
    alone = run("agar", "train", *SAME, "trainer.max_steps=10", "trainer.devices=2")
    assert alone.returncode == 0, alone.stderr
    expected = losses(alone.stdout)
    for root in Store(home).roots(Key("training_run", "small")):
        shutil.rmtree(root)

    ours = script_of_the_page().replace("experiment=first", f"{' '.join(SAME)} trainer.max_steps=10")
    assert ours.endswith("trainer.max_steps=10 trainer.devices=2\n"), ours
    job = tmp_path / "job.sh"
    job.write_text(ours)
    env = slurm | {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(tmp_path / "configs")}
    output, errors = tmp_path / "job.out", tmp_path / "job.err"
    done = subprocess.run(
        ["sbatch", "--wait", f"--output={output}", f"--error={errors}", str(job)],
        cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + errors.read_text()
    assert "2 processes communicate over the network interface lo" in errors.read_text()
    found = losses(output.read_text())
    assert len(found) == len(expected) == 10
    assert np.abs(found - expected).max() < 1e-4, f"{found} against {expected}"


def test_the_commands_of_the_page(slurm: dict[str, str], tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.follow_the_tutorial(until="## 5")
    (reader.clone / "train.sh").write_text(script_of_the_page())
    reader.env["SLURM_CONF"] = slurm["SLURM_CONF"]
    said = reader.follow("docs/how-to/slurm.md", {"/shared/agar": str(tmp_path / "home")})
    trained, after = said.split("+ agar run\n")
    assert "Submitted batch job" in trained
    assert re.search(r"first/training_run +stale +[0-9.]+ s +nothing to compute", after), "the job published it"
    assert re.search(r"first/evaluation +done", after)
