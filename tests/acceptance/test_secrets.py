"""Case 69: a password with any signs in it, through the real commands, and every place that it could end up in.
Case 70: an artifact in the shared store that somebody forged."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import psutil
import pymongo
import pytest

from agar_pipeline.fiftyone_io.database import settings
from agar_pipeline.store import Key
from tests.acceptance.grading import refused, right
from tests.acceptance.lab import Lab, copy_home, in_full, wait_until
from tests.store.test_shared_store import forge

PASSWORD = "q7p@ss/wo:rd#%?&= x'Z"
WRITTEN = {PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), json.dumps(PASSWORD)[1:-1]}
"""As it is, and as addresses and JSON write it."""


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[str]:
    """The address, with the password, of a real mongod that wants it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "db").mkdir()
    command = [str(settings.mongod_path()), "--auth", "--dbpath", str(tmp_path / "db"), "--port", str(port)]
    process = subprocess.Popen([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, 60, "mongod starts")
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}") as client:
        client.admin.command("createUser", "lab", pwd=PASSWORD, roles=["root"])
    yield f"mongodb://lab:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/?authSource=admin"
    process.kill()
    process.wait()


class Watch(threading.Thread):
    """Looks at the arguments of all processes, and at the environments of those that train."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.arguments: set[str] = set()
        self.training: dict[int, dict[str, str]] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            for process in psutil.process_iter():
                try:
                    words = process.cmdline()
                    self.arguments.add(" ".join(words))
                    if "agar_pipeline.steps" in words:
                        asset = json.loads(Path(words[-1]).read_text())["asset"]
                        if asset != "snapshot":
                            self.training[process.pid] = process.environ()
                except (psutil.Error, OSError, ValueError):
                    continue

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self.join()


def require_hidden(text: str, where: str) -> None:
    right(not any(password in text for password in WRITTEN), f"the password is readable in {where}")


@in_full
def test_case_69_a_password_is_nowhere_readable(lab: Lab, tmp_path: Path, locked: str) -> None:
    here = Lab(tmp_path)
    (here.home).mkdir(mode=0o700)
    here.configs.symlink_to(lab.configs)
    secret: dict[str, Any] = {"AGAR_DATABASE_URI": locked, "MY_TOKEN": PASSWORD}
    where = ("--images-dir", str(lab.plates), "--dataset", "small", "--database", "env:AGAR_DATABASE_URI")
    told = []
    with Watch() as seen, lab.pipeline(snapshot='{dataset: small, database: "env:AGAR_DATABASE_URI"}'):
        for command in (["import", "agar", *where], ["run"], ["plan", "--json"], ["launch-check"], ["plan"]):
            done = here.call(*command, **secret)
            assert done.returncode == 0, done.stderr
            told.append(done.stdout + done.stderr)
        wrong: dict[str, Any] = {"AGAR_DATABASE_URI": locked.replace("lab:", "nobody:")}
        for command in (["plan"], ["run", "snapshot"], ["--debug", "run", "snapshot"]):
            done = here.call(*command, **wrong)
            assert done.returncode != 0
            told.append(done.stdout + done.stderr)
    require_hidden("\n".join(told), "what commands say")
    require_hidden("\n".join(seen.arguments), "the arguments of a process, which ps shows")
    right(seen.training, "no training was seen")
    for environment in seen.training.values():
        require_hidden("\n".join(environment.values()), "the environment of a training")
    for folder in (here.home, lab.configs):
        for path in folder.rglob("*"):
            if path.is_file():
                require_hidden(path.read_bytes().decode(errors="replace"), str(path))


@in_full
def test_case_69_no_shared_file_takes_a_password(lab: Lab, locked: str) -> None:
    with lab.pipeline(snapshot=f"{{dataset: small, database: {json.dumps(locked)}}}"):
        done = lab.call("plan")
        refused(done, "pipeline.snapshot.database holds a password", "env:AGAR_DATABASE_URI", code=2)
        require_hidden(done.stdout + done.stderr, "the refusal")
    where = ("--images-dir", str(lab.plates), "--dataset", "new", "--database", locked)
    done = lab.call("import", "agar", *where, "--pipeline", "new")
    refused(done, "--database holds a password", "env:AGAR_DATABASE_URI", code=2)
    right(not (lab.configs / "pipeline" / "new.yaml").exists(), "a pipeline file was written")
    for path in lab.home.rglob("*.json"):
        require_hidden(path.read_text(errors="replace"), str(path))


@in_full
def test_case_70_a_forged_artifact_is_refused_with_a_key_and_told_of_without(lab: Lab, tmp_path: Path) -> None:
    store, key = tmp_path / "store", tmp_path / "key"
    store.mkdir()
    key.touch(mode=0o600)
    key.write_text("k" * 64)
    shared = {"AGAR_STORE": f"file://{store}"}
    signed: dict[str, Any] = shared | {"AGAR_STORE_KEY_FILE": str(key)}
    lab.run("run", "split", **signed)
    split = pd.read_parquet(lab.open("split").root / "split.parquet")
    forge(f"file://{store}", lab.open("split").root, split.assign(part="train").to_parquet())
    other = copy_home(lab, tmp_path / "other")
    shutil.rmtree(other.store.folder(Key("split")))
    told = other.run("run", "split", **shared)
    right("is trusted" in told, "a forged artifact is taken, and nothing is said of who is trusted")
    shutil.rmtree(other.store.folder(Key("split")))
    told = other.run("run", "split", **signed)
    right(other.open("split").data_version == lab.versions["split"], "the forged split was taken")
    right("is refused" in told, "the refusal is not told")
    key.chmod(0o644)
    refused(other.call("run", "split", **signed), "can be read or changed by other users", code=2)
